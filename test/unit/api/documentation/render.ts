/** The part of docs/api.md that is made: endpoints with their examples. */

import { errorStatuses, type Route } from '../../../../node-agent/api/route.js';
import type { Example } from './examples.js';

export interface RanExample extends Example {
  /** With `{name}` replaced, and the query. */
  readonly url: string;
  readonly sent: object | undefined;
  readonly answered: number;
  /** Undefined: none, or no JSON. */
  readonly answer: unknown;
}

/** Characters of JSON up to which a list is shown whole; of a longer one, the first element. */
const MAX_LIST_CHARS = 200;

const SECTIONS: readonly (readonly [string, RegExp])[] = [
  ['Sessions', /^\/auth/],
  ['Users', /^\/users/],
  ['Policy groups', /^\/policies/],
  ['Namespaces', /^\/namespaces(\/\{id\})?$/],
  ['Volumes', /^\/(namespaces\/\{namespaceID\}\/volumes|debug\/lost-volumes)/],
  ['Nodes', /^\/nodes/],
  ['Pools', /^\/pools/],
  ['Cluster and licence', /^\/cluster/],
  ['Operations and diagnostics', /^\/(operations|diagnostics|openapi)/],
  ['Kubernetes', /^\/k8s/],
];

const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g;
const TIME = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g;
const TOKEN = /eyJ[\w-]+\.[\w-]+\.[\w-]+/g;
const VERSION = /("version": "|[?&]version=)[\w+/]+/g;

/** Ids by the order in which they appear; times, versions and tokens that are the same in every run. */
export class Normaliser {
  readonly #ids = new Map<string, string>();

  text(text: string): string {
    return text
      .replaceAll(UUID, (id) => {
        const known = this.#ids.get(id) ?? `${String(this.#ids.size + 1).padStart(8, '0')}-0000-4000-8000-000000000000`;
        this.#ids.set(id, known);
        return known;
      })
      .replaceAll(TIME, '2026-01-02T03:04:05.678Z')
      .replaceAll(TOKEN, 'eyJ…')
      .replaceAll(/("key": ")(?:[^"\\]|\\.)*"/g, '$1…"')
      .replaceAll(VERSION, '$1Mg');
  }
}

/** Lists come by id, which chance has given: here by name. */
function shortened(value: unknown): unknown {
  if (!Array.isArray(value)) return value;
  const nameOf = ({ name, username, Host }: Record<string, string>) => name ?? username ?? Host ?? '';
  const sorted = value.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  return JSON.stringify(sorted).length > MAX_LIST_CHARS ? [sorted[0], '…'] : sorted;
}

function curl(route: Route, { url, sent }: RanExample): string {
  const words = ['curl'];
  if (route.method !== 'get') words.push(`-X ${route.method.toUpperCase()}`);
  if (route.access !== 'public') words.push('-H "Authorization: Bearer $TOKEN"');
  words.push(url.includes('?') ? `"$API${url}"` : `$API${url}`);
  const line = words.join(' ');
  return sent === undefined ? line : `${line} -d '\n${JSON.stringify(sent, null, 2)}'`;
}

function details(route: Route): string[] {
  const lines: string[] = [];
  const queries = Object.entries(route.query).map(
    ([name, schema]) => `\`${name}\`: ${schema.meta()?.description ?? ''}`,
  );
  if (queries.length > 0) lines.push(`Query: ${queries.join(' ')}`);
  const traits = [
    ...(route.versioned === 'body' ? ['`version` in the body'] : []),
    ...(route.versioned === 'query' ? ['`version` in the query'] : []),
    ...(route.async ? ['`async-max`'] : []),
  ];
  if (traits.length > 0) lines.push(`Takes ${traits.join(' and ')}.`);
  const { access } = route;
  const needs = access === 'public' ? 'no login' : `${access.action} ${access.resource}`;
  const fine = [...Object.keys(route.responses), ...(route.async && !(202 in route.responses) ? ['202'] : [])];
  lines.push(`Access: ${needs}. Answers ${fine.join(', ')}; errors ${errorStatuses(route).join(', ')}.`);
  return lines;
}

function endpoint(route: Route, example: RanExample, normaliser: Normaliser): string {
  const { answered, answer, note } = example;
  const shown = answer === undefined ? '' : `\n${JSON.stringify(shortened(answer), null, 2)}`;
  return [
    `### ${route.method.toUpperCase()} ${route.path}`,
    [route.summary, route.description]
      .filter((text) => text !== undefined)
      .join('. ')
      .replace(/([^.])$/, '$1.'),
    ...details(route),
    ...(note === undefined ? [] : [note]),
    `\`\`\`sh\n${normaliser.text(curl(route, example))}\n\`\`\``,
    `\`\`\`json\n${answered}${normaliser.text(shown)}\n\`\`\``,
  ].join('\n\n');
}

export function renderEndpoints(routes: readonly Route[], examples: ReadonlyMap<string, RanExample>): string {
  const normaliser = new Normaliser();
  const sections = SECTIONS.map(([title, pattern]) => {
    const inside = routes.filter(({ path }) => pattern.test(path));
    const parts = inside.flatMap((route) => {
      const example = examples.get(route.operationId);
      return example === undefined ? [] : [endpoint(route, example, normaliser)];
    });
    return [`## ${title}`, ...parts].join('\n\n');
  });
  return `${sections.join('\n\n')}\n`;
}

/** Paths that belong to no section. */
export function homeless(routes: readonly Route[]): string[] {
  return routes.map(({ path }) => path).filter((path) => !SECTIONS.some(([, pattern]) => pattern.test(path)));
}
