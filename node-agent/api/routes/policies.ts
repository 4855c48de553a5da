import { z } from 'zod';
import { type AccessRequest, ANY, DEFAULT_NAMESPACE } from '../../../core/access.js';
import type { PolicyGroup, PolicySpec } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import type { NamespaceId, PolicyGroupId } from '../../../core/types.js';
import type { ClusterState, Versioned } from '../../state/cluster-state.js';
import { MAX_GROUP_NAME_CHARS, MAX_SPECS } from '../../state/schemas.js';
import type { ApiServices } from '../context.js';
import { id, optional, versionField } from '../request.js';
import { created, done, ok, type Route, route } from '../route.js';
import { policyGroupSchema, resourceType } from '../schemas/policy.js';
import { policyGroupView } from '../views.js';

const specs = optional(
  z
    .array(
      z.object({
        namespaceID: z.union([z.literal(ANY), id<NamespaceId>('Id of a namespace.')]),
        resourceType,
        readOnly: optional(z.boolean()),
      }),
    )
    .max(MAX_SPECS),
);

const group = { description: 'The policy group.', body: policyGroupSchema };
const params = { id: id<PolicyGroupId>('Id of the policy group.') };

/** Errors: 'invalid' for a namespace that does not exist, and for the default one, whose rules no policy changes. */
async function checkedSpecs(state: ClusterState, requested: z.output<typeof specs>): Promise<PolicySpec[]> {
  const wanted = (requested ?? []).map((spec) => ({ ...spec, readOnly: spec.readOnly ?? false }));
  for (const namespace of new Set(wanted.map((spec) => spec.namespaceID))) {
    if (namespace === ANY) continue;
    const found = await state.namespaces.get(namespace);
    if (found === undefined) throw new DomainError('invalid', `namespace ${namespace} does not exist`);
    if (found.value.name === DEFAULT_NAMESPACE) {
      throw new DomainError('invalid', 'a policy cannot be about the default namespace; name others, or "*"');
    }
  }
  return wanted;
}

type May = (request: AccessRequest) => boolean;

/** Shows groups with those of their members that the caller may see. */
async function viewer(may: May, { dependencies }: ApiServices) {
  const users = (await dependencies.state.users.listOrLastSeen())
    .map(({ value }) => value)
    .filter((user) => may({ resource: 'user', action: 'read', item: user.id }));
  return (each: Versioned<PolicyGroup>) => policyGroupView(each, users);
}

export const policyRoutes: readonly Route[] = [
  route({
    operationId: 'createPolicyGroup',
    method: 'post',
    path: '/policies',
    summary: 'Make a policy group',
    access: { resource: 'policy', action: 'write' },
    body: z.object({ name: z.string().min(1).max(MAX_GROUP_NAME_CHARS), specs }),
    responses: { 201: group },
    errors: [409],
    handler: async ({ body }, services) => {
      const { state, random } = services.dependencies;
      const now = services.now();
      const made = await state.policies.create({
        id: random.uuid() as PolicyGroupId,
        name: body.name,
        specs: await checkedSpecs(state, body.specs),
        createdAt: now,
        updatedAt: now,
      });
      return created(policyGroupView(made, []));
    },
  }),

  route({
    operationId: 'listPolicyGroups',
    method: 'get',
    path: '/policies',
    summary: 'The policy groups that the caller may see: all, or those that it is a member of',
    access: { resource: 'policy', action: 'read', listed: true },
    responses: { 200: { description: 'The policy groups.', body: z.array(policyGroupSchema) } },
    handler: async ({ may }, services) => {
      const all = await services.dependencies.state.policies.listOrLastSeen();
      const seen = all.filter(({ value }) => may({ resource: 'policy', action: 'read', item: value.id }));
      return ok(seen.map(await viewer(may, services)));
    },
  }),

  route({
    operationId: 'getPolicyGroup',
    method: 'get',
    path: '/policies/{id}',
    summary: 'A policy group',
    access: { resource: 'policy', action: 'read' },
    params,
    responses: { 200: group },
    handler: async ({ params, may }, services) => {
      const found = await services.dependencies.state.policies.getOrLastSeen(params.id);
      if (found === undefined) throw new DomainError('not-found', `policy group ${params.id} not found`);
      const show = await viewer(may, services);
      return ok(show(found));
    },
  }),

  route({
    operationId: 'updatePolicyGroup',
    method: 'put',
    path: '/policies/{id}',
    summary: "Replace a policy group's rules",
    access: { resource: 'policy', action: 'write' },
    params,
    versioned: 'body',
    body: z.object({ specs, version: versionField }),
    responses: { 200: group },
    handler: async ({ params, body, expectedVersion, may }, services) => {
      const { state } = services.dependencies;
      const wanted = await checkedSpecs(state, body.specs);
      const updatedAt = services.now();
      const updated = await state.policies.update(
        params.id,
        (current) => ({ ...current, specs: wanted, updatedAt }),
        expectedVersion,
      );
      const show = await viewer(may, services);
      return ok(show(updated));
    },
  }),

  route({
    operationId: 'deletePolicyGroup',
    method: 'delete',
    path: '/policies/{id}',
    summary: 'Remove a policy group that has no members',
    access: { resource: 'policy', action: 'write' },
    params,
    versioned: 'query',
    responses: { 200: { description: 'It is gone.' } },
    errors: [409],
    handler: async ({ params, expectedVersion }, { dependencies: { state } }) => {
      await state.accounts.removeGroup(params.id, expectedVersion);
      return done;
    },
  }),
];
