import { stringify } from 'yaml';
import { openApiDocument } from '../openapi.js';
import { type Route, route } from '../route.js';

/** The document of the list that `routes` returns, this endpoint among them. */
export function openApiRoute(routes: () => readonly Route[]): Route {
  let text: string | undefined;
  return route({
    operationId: 'spec',
    method: 'get',
    path: '/openapi',
    summary: 'This document',
    access: 'public',
    responses: { 200: { description: 'The document.', media: 'text/yaml' } },
    handler: async () => {
      text ??= stringify(openApiDocument(routes()), { aliasDuplicateObjects: false });
      return { status: 200, raw: text };
    },
  });
}
