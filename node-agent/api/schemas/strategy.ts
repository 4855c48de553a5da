import { z } from 'zod';
import { DEFAULT_TOPOLOGY_KEY, type PlacementStrategy } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import { MAX_LABEL_KEY_CHARS } from '../../state/schemas.js';
import { optional } from '../request.js';

export const strategySchema = z
  .object({
    strategy: optional(z.enum(['random', 'recommended', 'topology-aware', 'fixed-topology'])),
    options: optional(
      z.object({
        topologyKey: optional(z.string().max(MAX_LABEL_KEY_CHARS)).meta({
          description: `For \`topology-aware\`: the label of nodes that tells domains apart, by default ${DEFAULT_TOPOLOGY_KEY}.`,
        }),
      }),
    ),
  })
  .meta({ id: 'Strategy', description: 'How nodes for new copies are chosen; `recommended` if nothing is said.' });

/** Errors: 'invalid'. */
export function placementStrategy(requested: z.output<typeof strategySchema> | undefined): PlacementStrategy {
  switch (requested?.strategy) {
    case undefined:
    case 'recommended':
      return { kind: 'recommended' };
    case 'random':
      return { kind: 'random' };
    case 'topology-aware':
      return { kind: 'topology-aware', topologyKey: requested.options?.topologyKey || DEFAULT_TOPOLOGY_KEY };
    case 'fixed-topology':
      throw new DomainError('invalid', 'placement strategy "fixed-topology" is not supported by this version');
  }
}
