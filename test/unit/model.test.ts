/** The specification itself is checked by `npm run model`; here, that it, its runs and its documents speak of the same. */

import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { configuration, FLAWS, RULES_ON, WALKS } from '../model/runs.js';
import { trace } from '../model/tlc.js';

const read = (name: string): string => readFileSync(new URL(`../../docs/model/${name}`, import.meta.url), 'utf8');
const specification = read('VolumeReplication.tla');
const findings = read('findings.md');

describe('the specification of the protocol', () => {
  it('has its constants set in every run, and no others', () => {
    const declared = /CONSTANTS([\s\S]*?)VARIABLES/.exec(specification)![1]!.replace(/\\\*.*$/gm, '');
    const names = declared.match(/\w+/g)!.sort();
    for (const run of [...FLAWS, ...RULES_ON, ...WALKS]) {
      expect(['P0', ...Object.keys(run.constants)].sort(), run.name).toEqual(names);
    }
  });

  it('is checked for invariants that it has', () => {
    for (const run of [...FLAWS, ...RULES_ON, ...WALKS]) {
      for (const invariant of run.invariants) expect(specification).toMatch(new RegExp(`^${invariant} ==`, 'm'));
    }
  });

  it('says of every rule what it is for, and shows that it is needed', () => {
    const rules = [...findings.matchAll(/^\| \*\*(R\d+)\*\*/gm)].map(([, rule]) => rule!);
    expect(rules).toEqual(Array.from({ length: 19 }, (_, i) => `R${i + 1}`));
    const shown = new Set(FLAWS.map(({ name }) => name.split('-')[0]!));
    // A random walk found R18; no small bounds show it.
    expect(rules.filter((rule) => !shown.has(rule))).toEqual(['R18']);
  });

  it('refers to files that exist', () => {
    for (const text of [findings, read('README.md')]) {
      for (const [, path] of text.matchAll(/`((?:core|node-agent|test)\/[\w/.-]+)`/g)) {
        expect(existsSync(new URL(`../../${path}`, import.meta.url)), path).toBe(true);
      }
    }
  });

  it('gets a configuration that switches off what a run names', () => {
    const run = FLAWS.find(({ name }) => name.startsWith('R7'))!;
    expect(configuration(run)).toContain('\n  AddMaybe = FALSE\n');
    expect(configuration(run)).toContain('\n  a = a\n  b = b\n  P0 = a\n');
    expect(configuration(RULES_ON[0]!)).not.toContain('AddMaybe = FALSE');
  });

  it('shows a counterexample by what changes', () => {
    const output = [
      'State 1: <Initial predicate>\n/\\ up = TRUE\n/\\ log = <<>>\n',
      'State 2: <Write line 160, col 3 of module X>\n/\\ up = TRUE\n/\\ log = <<1,\n   2>>\n\n',
    ].join('\n');
    expect(trace(output)).toEqual(['2 Write: log = <<1, 2>>']);
  });
});
