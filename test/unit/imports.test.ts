import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** What each folder may import of ours (docs/ARCHITECTURE.md). `types`: only by `import type`. */
const RULES: Readonly<Record<string, { readonly code: readonly string[]; readonly types?: readonly string[] }>> = {
  core: { code: ['core'] },
  'node-agent': { code: ['node-agent', 'core', 'activities'], types: ['workflows'] },
  activities: { code: ['activities', 'core'], types: ['node-agent'] },
  workflows: { code: ['workflows', 'core'], types: ['activities'] },
  client: { code: ['client'], types: ['core'] },
  cli: { code: ['cli', 'client', 'core'] },
  cluster: { code: ['cluster', 'client', 'core', 'node-agent'] },
};

/** Names and search attributes of the workflows: constants without code, which starters need too. */
const SHARED_CONSTANTS = new Set(['workflows/names.js', 'workflows/search-attributes.js']);

/** What one folder may import beyond its rule. */
const EXCEPTIONS: Readonly<Record<string, readonly string[]>> = {
  // `storageos debug` reads a data directory without an agent.
  cli: ['node-agent/store/offline.js'],
};

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(folder, file));
}

function importsOf(file: string): { target: string; typeOnly: boolean }[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found = text.matchAll(/^\s*(?:import|export)\s+(type\s)?[^;'"]*?from\s+['"](\.[^'"]+)['"]/gm);
  const dynamic = text.matchAll(/import\(\s*['"](\.[^'"]+)['"]\s*\)/g);
  return [
    ...[...found].map((match) => ({ target: match[2] ?? '', typeOnly: match[1] !== undefined })),
    ...[...dynamic].map((match) => ({ target: match[1] ?? '', typeOnly: false })),
  ].map(({ target, typeOnly }) => ({ target: normalize(join(dirname(file), target)), typeOnly }));
}

describe('imports go one way', () => {
  for (const [folder, rule] of Object.entries(RULES)) {
    it(`${folder}/ imports only what it may`, () => {
      const files = sources(folder);
      expect(files.length).toBeGreaterThan(0);
      const violations = files.flatMap((file) =>
        importsOf(file)
          .filter(({ target, typeOnly }) => {
            const to = target.split('/')[0] ?? '';
            const allowed = rule.code.includes(to) || (typeOnly && rule.types?.includes(to));
            return !allowed && !SHARED_CONSTANTS.has(target) && !EXCEPTIONS[folder]?.includes(target);
          })
          .map(({ target }) => `${file} → ${target}`),
      );
      expect(violations).toEqual([]);
    });
  }

  it('workflows use no module of Node', () => {
    const offenders = sources('workflows').filter((file) =>
      /from\s+['"]node:/.test(readFileSync(join(root, file), 'utf8')),
    );
    expect(offenders).toEqual([]);
  });
});
