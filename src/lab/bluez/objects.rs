//! The object tree that the double shows, and the messages about it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use dbus::arg::{PropMap, RefArg, Variant};
use dbus::{Message, Path};

pub(super) const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The value of a property, of the types that BlueZ's interfaces have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Property {
    Bool(bool),
    U16(u16),
    U32(u32),
    I16(i16),
    Text(String),
    Object(String),
    Texts(Vec<String>),
    Octets(Vec<u8>),
}

impl Property {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(super) fn variant(&self) -> Variant<Box<dyn RefArg>> {
        Variant(match self {
            Self::Bool(value) => Box::new(*value),
            Self::U16(value) => Box::new(*value),
            Self::U32(value) => Box::new(*value),
            Self::I16(value) => Box::new(*value),
            Self::Text(value) => Box::new(value.clone()),
            Self::Object(path) => Box::new(Path::from(path.clone())),
            Self::Texts(values) => Box::new(values.clone()),
            Self::Octets(value) => Box::new(value.clone()),
        })
    }
}

/// The properties of one interface.
pub(super) type Interface = BTreeMap<&'static str, Property>;

/// The interfaces of one object.
pub(super) type Object = BTreeMap<&'static str, Interface>;

/// All objects by path, and the signals that their changes make.
#[derive(Default)]
pub(super) struct Objects {
    tree: BTreeMap<String, Object>,
    signals: Vec<Message>,
}

impl Objects {
    pub(super) fn get(&self, path: &str) -> Option<&Object> {
        self.tree.get(path)
    }

    pub(super) fn property(&self, path: &str, interface: &str, name: &str) -> Option<&Property> {
        self.tree.get(path)?.get(interface)?.get(name)
    }

    pub(super) fn is(&self, path: &str, interface: &str, name: &str) -> bool {
        self.property(path, interface, name) == Some(&Property::Bool(true))
    }

    pub(super) fn paths_below(&self, path: &str) -> Vec<String> {
        let prefix = format!("{path}/");
        self.tree.keys().filter(|below| below.starts_with(&prefix)).cloned().collect()
    }

    pub(super) fn add(&mut self, path: &str, object: Object) {
        let content: HashMap<String, PropMap> =
            object.iter().map(|(name, properties)| ((*name).to_owned(), prop_map(properties))).collect();
        self.tree.insert(path.to_owned(), object);
        self.signal("/", OBJECT_MANAGER, "InterfacesAdded", |signal| {
            signal.append2(Path::from(path.to_owned()), content)
        });
    }

    /// Removes an object and all below it, the deepest first.
    pub(super) fn remove(&mut self, path: &str) {
        let mut paths = self.paths_below(path);
        paths.insert(0, path.to_owned());
        for path in paths.into_iter().rev() {
            if let Some(object) = self.tree.remove(&path) {
                let interfaces: Vec<String> = object.keys().map(|&name| name.to_owned()).collect();
                self.signal("/", OBJECT_MANAGER, "InterfacesRemoved", |signal| {
                    signal.append2(Path::from(path), interfaces)
                });
            }
        }
    }

    /// Forgets everything without a word, as a process that dies.
    pub(super) fn forget_all(&mut self) {
        self.tree.clear();
    }

    pub(super) fn set(&mut self, path: &str, interface: &'static str, name: &'static str, value: Property) {
        let Some(properties) = self.tree.get_mut(path).and_then(|object| object.get_mut(interface)) else {
            return;
        };
        let changed: PropMap = HashMap::from([(name.to_owned(), value.variant())]);
        properties.insert(name, value);
        self.signal(path, PROPERTIES, "PropertiesChanged", |signal| {
            signal.append3(interface, changed, Vec::<String>::new())
        });
    }

    /// What `GetManagedObjects` answers.
    pub(super) fn managed(&self) -> HashMap<Path<'static>, HashMap<String, PropMap>> {
        let object = |object: &Object| {
            object.iter().map(|(name, properties)| ((*name).to_owned(), prop_map(properties))).collect()
        };
        self.tree.iter().map(|(path, content)| (Path::from(path.clone()), object(content))).collect()
    }

    /// What `Introspect` answers: btleplug finds services and characteristics by it.
    pub(super) fn introspection(&self, path: &str) -> String {
        let path = path.trim_end_matches('/');
        let below = self.paths_below(path);
        let children: BTreeSet<&str> =
            below.iter().filter_map(|below| below.get(path.len() + 1..)?.split('/').next()).collect();
        let mut xml = "<node>".to_owned();
        for name in self.tree.get(path).into_iter().flat_map(Object::keys) {
            xml.extend(["<interface name=\"", name, "\"></interface>"]);
        }
        for name in children {
            xml.extend(["<node name=\"", name, "\"/>"]);
        }
        xml.push_str("</node>");
        xml
    }

    pub(super) fn take_signals(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.signals)
    }

    fn signal(&mut self, path: &str, interface: &str, member: &str, fill: impl FnOnce(Message) -> Message) {
        // The names are constants of this folder and paths made of addresses: always valid.
        if let Ok(signal) = Message::new_signal(path, interface, member) {
            self.signals.push(fill(signal));
        }
    }
}

pub(super) fn prop_map(properties: &Interface) -> PropMap {
    properties.iter().map(|(name, value)| ((*name).to_owned(), value.variant())).collect()
}
