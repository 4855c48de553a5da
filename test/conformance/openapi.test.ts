/** Our document beside that of the original, where that is present; it is not part of this project. */

import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { openApiDocument } from '../../node-agent/api/openapi.js';
import { ROUTES } from '../../node-agent/api/routes/index.js';
import { packageRoot } from '../../node-agent/package-root.js';
import { differences } from './openapi-compare.js';
import { DIFFERENCES } from './openapi-differences.js';

const REFERENCE = 'shared/reference/storageos-openapi/openapi.yaml';

/** The original beside the project, or where STORAGEOS_OPENAPI says. */
function original(): string | undefined {
  const given = process.env.STORAGEOS_OPENAPI;
  if (given !== undefined) return given;
  const beside = join(dirname(packageRoot()), REFERENCE);
  return existsSync(beside) ? beside : undefined;
}

const ours = JSON.parse(JSON.stringify(openApiDocument(ROUTES)));

describe('the OpenAPI document', () => {
  it('has an operation id of its own for every endpoint, and no reference that leads nowhere', () => {
    expect(new Set(ROUTES.map((route) => route.operationId)).size).toBe(ROUTES.length);
    const references = [...JSON.stringify(ours).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path]) => path ?? '');
    expect(references.length).toBeGreaterThan(100);
    for (const path of new Set(references)) {
      const found = path.split('/').reduce((at, name) => at?.[name], ours);
      expect([path, typeof found]).toEqual([path, 'object']);
    }
  });

  const path = original();
  const title = 'is that of the original, except for what is listed with its reason';
  if (path === undefined) it.skip(`${title} (skipped: the original is not beside this project)`, () => {});
  else {
    it(title, () => {
      // The original has a stray comma after a type.
      const theirs = parse(readFileSync(path, 'utf8').replaceAll('type: array,', 'type: array'));
      const found = differences(theirs, ours);
      const explained = (difference: string) => DIFFERENCES.some(({ matches }) => matches.test(difference));
      expect(found.filter((difference) => !explained(difference))).toEqual([]);
      const stale = DIFFERENCES.filter(({ matches }) => !found.some((difference) => matches.test(difference)));
      expect(stale).toEqual([]);
    });
  }
});
