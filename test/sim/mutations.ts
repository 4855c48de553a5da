/**
 * Deliberate mistakes: each rule of the protocol (docs/model/findings.md) switched off in the compiled code, and others
 * that a tired engineer could make. `find` occurs exactly once in the file, so that a mutation cannot silently stop
 * applying. One that is said to do no harm is looked for all the same: what notices it refutes the argument.
 *
 * Where a rule has a second line of defence, the mutation takes both away: each alone changes nothing that anybody
 * could see.
 */

import type { Mutation } from './mutations/mutation.js';
import { OTHER_MISTAKES } from './mutations/others.js';
import { RULES_OFF } from './mutations/rules.js';

export type { Mutation } from './mutations/mutation.js';

export const MUTATIONS: readonly Mutation[] = [...RULES_OFF, ...OTHER_MISTAKES];
