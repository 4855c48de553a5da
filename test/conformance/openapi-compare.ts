/** What differs between two OpenAPI documents, for a client of the first that talks to a server of the second. */

// biome-ignore lint/suspicious/noExplicitAny: documents from outside, of which any part may be missing.
type Node = any;

const METHODS = ['get', 'put', 'post', 'delete'] as const;
/** The original's names for whole numbers, which no version of OpenAPI knows. */
const INTEGERS = new Set(['uint64', 'int64', 'integer']);

function resolve(document: Node, node: Node): Node {
  let found = node;
  for (let depth = 0; depth < 16; depth++) {
    if (found?.$ref !== undefined) {
      const path = String(found.$ref).slice(2).split('/');
      found = path.reduce((at, name) => at?.[name], document);
    } else if (found?.allOf?.length === 1 && found.type === undefined) found = found.allOf[0];
    else return merge(document, found);
  }
  throw new Error(`a reference without end: ${JSON.stringify(node)}`);
}

/** One object for `allOf`, and for `oneOf`, of which every field may then be there. */
function merge(document: Node, schema: Node): Node {
  const parts: Node[] | undefined = schema?.allOf ?? schema?.oneOf;
  if (parts === undefined) return schema;
  const objects = parts.map((part) => resolve(document, part));
  return {
    type: 'object',
    properties: Object.assign({}, ...objects.map((object) => object.properties)),
    required: schema.allOf === undefined ? [] : objects.flatMap((object) => object.required ?? []),
  };
}

function typeOf(schema: Node): string {
  const kinds = new Set<string>((schema?.anyOf ?? []).map(typeOf));
  if (kinds.size === 1) return [...kinds].join();
  if (schema?.properties !== undefined || schema?.additionalProperties !== undefined) return 'object';
  return INTEGERS.has(schema?.type) ? 'integer' : (schema?.type ?? 'any');
}

export class OpenApiComparison {
  readonly #theirs: Node;
  readonly #ours: Node;
  readonly differences: string[] = [];

  constructor(theirs: Node, ours: Node) {
    this.#theirs = theirs;
    this.#ours = ours;
    for (const path of Object.keys(theirs.paths)) this.#path(path);
    for (const path of Object.keys(ours.paths)) {
      for (const method of METHODS) {
        if (ours.paths[path][method] !== undefined && theirs.paths[path]?.[method] === undefined) {
          this.#note(`${method.toUpperCase()} ${path}`, 'only ours');
        }
      }
    }
  }

  #note(where: string, what: string): void {
    this.differences.push(`${where}: ${what}`);
  }

  #path(path: string): void {
    const theirs = this.#theirs.paths[path];
    const ours = this.#ours.paths[path];
    for (const method of METHODS) {
      if (theirs[method] === undefined) continue;
      const where = `${method.toUpperCase()} ${path}`;
      if (ours?.[method] === undefined) this.#note(where, 'missing');
      else this.#operation(where, { ...theirs[method], shared: theirs.parameters }, ours[method]);
    }
  }

  #operation(where: string, theirs: Node, ours: Node): void {
    if (theirs.operationId !== ours.operationId) this.#note(where, `operation id ${ours.operationId}`);
    const isOpen = (operation: Node, document: Node) => (operation.security ?? document.security ?? []).length === 0;
    if (isOpen(theirs, this.#theirs) !== isOpen(ours, this.#ours)) this.#note(where, 'login');
    this.#parameters(where, [...(theirs.shared ?? []), ...(theirs.parameters ?? [])], ours.parameters ?? []);
    this.#body(where, theirs.requestBody, ours.requestBody);
    const statuses = new Set([...Object.keys(theirs.responses), ...Object.keys(ours.responses)]);
    for (const status of [...statuses].sort())
      this.#response(where, status, theirs.responses[status], ours.responses[status]);
  }

  #parameters(where: string, theirs: Node[], ours: Node[]): void {
    const index = (document: Node, list: Node[]) =>
      new Map(list.map((one) => resolve(document, one)).map((one) => [`${one.in} ${one.name}`, one]));
    const [mine, other] = [index(this.#ours, ours), index(this.#theirs, theirs)];
    for (const [key, parameter] of other) {
      const own = mine.get(key);
      if (own === undefined) this.#note(where, `parameter ${key} missing`);
      else {
        if (own.required === true && parameter.required !== true) this.#note(where, `parameter ${key} required`);
        this.#schema(`${where} parameter ${key}`, parameter.schema, own.schema, 'request');
      }
    }
    for (const key of mine.keys()) if (!other.has(key)) this.#note(where, `parameter ${key} only ours`);
  }

  #body(where: string, theirs: Node, ours: Node): void {
    const json = (body: Node) => body?.content?.['application/json']?.schema;
    if (json(theirs) === undefined && json(ours) === undefined) return;
    if (json(theirs) === undefined || json(ours) === undefined) this.#note(where, 'request body on one side only');
    else this.#schema(`${where} request`, json(theirs), json(ours), 'request');
  }

  #response(where: string, status: string, theirs: Node, ours: Node): void {
    if (theirs === undefined || ours === undefined) {
      this.#note(where, `status ${status} ${theirs === undefined ? 'only ours' : 'missing'}`);
      return;
    }
    if (Number(status) >= 400 && status !== '502') return;
    const [their, own] = [resolve(this.#theirs, theirs), resolve(this.#ours, ours)];
    const media = new Set([...Object.keys(their.content ?? {}), ...Object.keys(own.content ?? {})]);
    for (const type of media) {
      const [a, b] = [their.content?.[type], own.content?.[type]];
      if (a === undefined || b === undefined) {
        this.#note(`${where} ${status}`, `${type} ${a === undefined ? 'only ours' : 'missing'}`);
      } else this.#schema(`${where} ${status}`, a.schema, b.schema, 'response');
    }
  }

  #schema(where: string, theirs: Node, ours: Node, direction: 'request' | 'response'): void {
    const named = theirs?.$ref !== undefined && direction === 'response' ? String(theirs.$ref).split('/').pop() : '';
    const [a, b] = [resolve(this.#theirs, theirs), resolve(this.#ours, ours)];
    const at = named === '' ? where : `${direction} ${named}`;
    if (typeOf(a) !== typeOf(b)) {
      this.#note(at, `type ${typeOf(a)} is ${typeOf(b)}`);
      return;
    }
    for (const value of a.enum ?? [])
      if (b.enum !== undefined && !b.enum.includes(value)) this.#note(at, `value ${value} missing`);
    for (const value of b.enum ?? [])
      if (a.enum !== undefined && !a.enum.includes(value)) this.#note(at, `value ${value} only ours`);
    if (a.items !== undefined) this.#schema(`${at}[]`, a.items, b.items, direction);
    const [their, own] = [a.properties ?? {}, b.properties ?? {}];
    for (const name of Object.keys(their)) {
      if (own[name] === undefined) this.#note(at, `field ${name} missing`);
      else this.#schema(`${at}.${name}`, their[name], own[name], direction);
    }
    for (const name of Object.keys(own)) if (their[name] === undefined) this.#note(at, `field ${name} only ours`);
    if (direction === 'request') {
      for (const name of b.required ?? [])
        if (!(a.required ?? []).includes(name)) this.#note(at, `field ${name} required`);
    }
  }
}

export function differences(theirs: unknown, ours: unknown): string[] {
  return [...new Set(new OpenApiComparison(theirs, ours).differences)];
}
