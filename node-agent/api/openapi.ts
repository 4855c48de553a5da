/** The OpenAPI 3.0.3 document of the API, made from the list of endpoints. */

import { z } from 'zod';
import { errorStatuses, type ResponseDefinition, type Route, type Shape } from './route.js';
import { acceptedSchema, errorSchema, version } from './schemas/common.js';

type Json = Readonly<Record<string, unknown>>;

/** Version of the interface: that of the original API whose clients it serves. */
const API_VERSION = '2.8.0';

const ERRORS: Readonly<Record<number, { readonly name: string; readonly description: string }>> = {
  400: { name: 'BadRequest', description: 'The request is malformed; the message names the field.' },
  401: { name: 'Unauthorised', description: 'Not logged in, or wrong credentials.' },
  403: { name: 'Forbidden', description: 'The caller may not do this.' },
  404: { name: 'NotFound', description: 'There is no such object.' },
  409: { name: 'Conflict', description: 'The name is taken, the object is in use, or settings contradict each other.' },
  412: { name: 'StaleWrite', description: 'The object has changed since the version that was given.' },
  422: { name: 'InvalidStateTransition', description: "The object's state does not allow it; the message names it." },
  423: { name: 'Locked', description: 'Another operation holds the object.' },
  429: { name: 'TooManyRequests', description: 'Too many attempts; try again later.' },
  451: { name: 'LicenceRestricted', description: 'The licence does not cover it.' },
  500: { name: 'ServerError', description: 'A defect of the server, whose log says more.' },
  501: { name: 'NotImplemented', description: 'This version of the system does not have the feature.' },
  502: { name: 'BadGateway', description: 'Another node did not do its part.' },
  503: { name: 'StoreError', description: 'etcd, Temporal or a node that is needed does not answer; try again.' },
  507: { name: 'InsufficientStorage', description: 'No room, too few suitable nodes, or too many volumes on a node.' },
};

const ASYNC_MAX =
  'The request is accepted at once, and the operation goes on for this long at the most whether or not the client ' +
  'stays: a duration in the form of Go, such as `90s` or `1m30s`. The query wins over the header; both have to be durations where there are both.';

const DURATION = '^\\+?(([0-9]+\\.?[0-9]*|\\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$';

const SHARED_PARAMETERS = {
  ObjectVersion: {
    name: 'version',
    in: 'query',
    description: 'The version that the object must have; may be empty with `ignore-version`.',
    required: false,
    schema: { $ref: '#/components/schemas/Version' },
  },
  IgnoreVersion: {
    name: 'ignore-version',
    in: 'query',
    description: 'Carry the request out whatever version the object has.',
    required: false,
    schema: { type: 'boolean', default: false },
  },
  AsyncHeader: {
    name: 'async-max',
    in: 'header',
    description: ASYNC_MAX,
    required: false,
    schema: { type: 'string', pattern: DURATION, maxLength: 64 },
  },
  AsyncParam: {
    name: 'async-max',
    in: 'query',
    description: ASYNC_MAX,
    required: false,
    schema: { type: 'string', pattern: DURATION, maxLength: 64 },
  },
} as const;

/** Collects the components that schemas refer to. */
class Components {
  readonly schemas: Record<string, Json> = {};

  /** The schema as OpenAPI 3.0 has it; those with an id become components. */
  convert(schema: z.ZodType): Json {
    const {
      $schema: _,
      definitions,
      ...json
    } = z.toJSONSchema(schema, {
      target: 'openapi-3.0',
      io: 'input',
      unrepresentable: 'any',
      override: ({ jsonSchema }) => {
        const { wire } = jsonSchema;
        if (wire !== undefined) replace(jsonSchema, { description: jsonSchema.description, ...(wire as Json) });
        // A double's range is a limit of this implementation, not of the interface.
        if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
        if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
      },
    }) as Record<string, unknown>;
    for (const [name, definition] of Object.entries((definitions ?? {}) as Record<string, Json>)) {
      this.schemas[name] = relocate(definition) as Json;
    }
    const { id } = schema.meta() ?? {};
    return id === undefined ? (relocate(json) as Json) : { $ref: `#/components/schemas/${id}` };
  }
}

function replace(target: Record<string, unknown>, source: Json): void {
  for (const key of Object.keys(target)) delete target[key];
  Object.assign(target, source);
}

/** With references to where OpenAPI keeps schemas, and without the names that only served to find them. */
function relocate(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(relocate);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, member]) => key !== 'id' || typeof member !== 'string')
      .map(([key, member]) => [
        key,
        key === '$ref' ? String(member).replace('#/definitions/', '#/components/schemas/') : relocate(member),
      ]),
  );
}

function parameters(components: Components, route: Route): Json[] {
  const found: Json[] = [];
  const add = (shape: Shape, where: 'path' | 'query') => {
    for (const [name, schema] of Object.entries(shape)) {
      const { description, ...json } = components.convert(schema);
      const required = where === 'path' || !schema.safeParse(undefined).success;
      found.push({ name, in: where, ...(description !== undefined && { description }), required, schema: json });
    }
  };
  const share = (name: keyof typeof SHARED_PARAMETERS) => found.push({ $ref: `#/components/parameters/${name}` });
  add(route.params, 'path');
  add(route.query, 'query');
  if (route.versioned === 'query') share('ObjectVersion');
  if (route.versioned !== undefined) share('IgnoreVersion');
  if (route.async) {
    share('AsyncHeader');
    share('AsyncParam');
  }
  return found;
}

function content(components: Components, { body, media }: ResponseDefinition): Json | undefined {
  if (body !== undefined) return { 'application/json': { schema: components.convert(body) } };
  if (media === undefined) return undefined;
  const binary = media === 'text/yaml' ? {} : { format: 'binary' };
  return { [media]: { schema: { type: 'string', ...binary } } };
}

function response(components: Components, definition: ResponseDefinition): Json {
  const { description, headers } = definition;
  const found = content(components, definition);
  return {
    description,
    ...(headers !== undefined && {
      headers: Object.fromEntries(
        Object.entries(headers).map(([name, text]) => [name, { description: text, schema: { type: 'string' } }]),
      ),
    }),
    ...(found !== undefined && { content: found }),
  };
}

function responses(components: Components, route: Route): Json {
  const own = Object.entries(route.responses).map(([status, found]) => [status, response(components, found)] as const);
  const accepted = route.async && !(202 in route.responses);
  const errors = errorStatuses(route)
    .filter((status) => !(status in route.responses))
    .map((status) => [String(status), { $ref: `#/components/responses/${ERRORS[status]?.name}` }] as const);
  return Object.fromEntries([
    ...own,
    ...(accepted ? [['202', { $ref: '#/components/responses/Accepted' }] as const] : []),
    ...errors,
  ]);
}

function operation(components: Components, route: Route): Json {
  const { operationId, summary, description, access, body } = route;
  const found = parameters(components, route);
  return {
    operationId,
    summary,
    ...(description !== undefined && { description }),
    tags: [access === 'public' ? 'public' : access.resource],
    ...(access === 'public' ? { security: [] } : {}),
    ...(found.length > 0 && { parameters: found }),
    ...(body !== undefined && {
      requestBody: {
        required: !body.safeParse({}).success,
        content: { 'application/json': { schema: components.convert(body) } },
      },
    }),
    responses: responses(components, route),
  };
}

export function openApiDocument(routes: readonly Route[]): Json {
  const components = new Components();
  for (const schema of [version, errorSchema, acceptedSchema]) components.convert(schema);
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) {
    paths[route.path] ??= {};
    Object.assign(paths[route.path] as object, { [route.method]: operation(components, route) });
  }
  const error = { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } };
  return {
    openapi: '3.0.3',
    info: {
      title: 'storageos',
      version: API_VERSION,
      description: 'Block storage for Kubernetes. Every node answers every request, and all answer the same.',
    },
    servers: [{ url: '/v2' }],
    security: [{ jwt: [] }],
    paths,
    components: {
      securitySchemes: {
        jwt: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'The token that `POST /auth/login` answers with. It is valid for five minutes.',
        },
      },
      schemas: Object.fromEntries(Object.entries(components.schemas).sort(([a], [b]) => (a < b ? -1 : 1))),
      parameters: SHARED_PARAMETERS,
      responses: {
        Accepted: {
          description: 'The operation goes on behind the request.',
          content: { 'application/json': { schema: { $ref: '#/components/schemas/AcceptedMessage' } } },
        },
        ...Object.fromEntries(
          Object.values(ERRORS).map(({ name, description }) => [name, { description, content: error }]),
        ),
      },
    },
  };
}
