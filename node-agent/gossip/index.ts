export type { Member, MemberInfo, MemberStatus } from '../../core/gossip/types.js';
export { Gossip, type GossipOptions } from './gossip.js';
