"""A thermometer: measurements that are indicated, each confirmed."""
