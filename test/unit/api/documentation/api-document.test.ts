/** docs/api.md is what the API does: each example is run, and the document made from the answers is the one that is there. */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ROUTES } from '../../../../node-agent/api/routes/index.js';
import { packageRoot } from '../../../../node-agent/package-root.js';
import { TestEtcd } from '../../../setup/etcd.js';
import { type Fixture, startFixture } from '../fixture.js';
import { EXAMPLES, type Example, type Known } from './examples.js';
import { homeless, type RanExample, renderEndpoints } from './render.js';

const FILE = join(packageRoot(), 'docs', 'api.md');
/** What stands before it is written by hand. */
const MARK = '<!-- From here on made by test/unit/api/documentation: UPDATE_DOCS=1 npm test -- api-document -->\n';

async function run(api: Fixture, example: Example, known: Known): Promise<RanExample> {
  const { operationId, path, query, body, status, keep, as, before } = example;
  const route = ROUTES.find((candidate) => candidate.operationId === operationId);
  if (route === undefined) throw new Error(`there is no endpoint ${operationId}`);
  await before?.(api, known);
  const params = path?.(known) ?? {};
  const url =
    route.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => params[name] ?? `{${name}}`) +
    (query === undefined ? '' : `?${query.replaceAll(/\{(\w+)\}/g, (_, name: string) => known[name] ?? '')}`);
  const sent = body?.(known);
  const headers = as === undefined ? undefined : { authorization: `Bearer ${known[as]}` };
  const answer = await api.request(route.method.toUpperCase(), url, sent, headers);
  expect([operationId, answer.status, answer.body.error]).toEqual([
    operationId,
    status ?? (201 in route.responses ? 201 : 200),
    (status ?? 200) >= 400 ? expect.any(String) : undefined,
  ]);
  Object.assign(known, keep?.(answer.body));
  const json = answer.headers.get('content-type')?.includes('json') === true && answer.body !== '';
  return { ...example, url, sent, answered: answer.status, answer: json ? answer.body : undefined };
}

it('every endpoint has an example, every example runs, and docs/api.md shows them', async () => {
  expect(EXAMPLES.map(({ operationId }) => operationId).sort()).toEqual(
    ROUTES.map(({ operationId }) => operationId).sort(),
  );
  expect(homeless(ROUTES)).toEqual([]);
  const etcd = await TestEtcd.start();
  try {
    const api = await startFixture(etcd, { nodes: 4 });
    try {
      const [node1 = '', , node3 = ''] = api.nodes;
      const known: Known = { namespace: api.namespace, node1, node3 };
      const ran = new Map<string, RanExample>();
      for (const example of EXAMPLES) ran.set(example.operationId, await run(api, example, known));
      const before = await readFile(FILE, 'utf8');
      const head = before.slice(0, before.indexOf(MARK) + MARK.length);
      expect(head).toContain(MARK);
      const document = `${head}\n${renderEndpoints(ROUTES, ran)}`;
      if (process.env.UPDATE_DOCS !== undefined) await writeFile(FILE, document);
      else expect(before).toBe(document);
    } finally {
      api.close();
    }
  } finally {
    await etcd.destroy();
  }
});
