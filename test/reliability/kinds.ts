/** What docs/reliability.md says about each kind of run. */

import type { RunRecord } from '../setup/run-record.js';

export interface KindText {
  readonly title: string;
  /** The command that does it, with nothing that makes it long or short. */
  readonly command: string;
  /** What it does, and what counts as a failure. */
  readonly what: string;
}

export const KIND_TEXTS: Readonly<Record<RunRecord['kind'], KindText>> = {
  simulation: {
    title: 'Simulated clusters',
    command: 'npm run sim',
    what: 'Whole clusters of the production replication, planner, frontend and block store, with up to three volumes on up to seven nodes, on virtual time, disks, network and etcd, each from a seed, with crashes, power cuts, partitions, rot, full, slow and failing disks, and an etcd that is away, late or behind. Every read is checked against the history of its block as a linearizable register; in the end all copies must be in sync and identical ([how](internals/replication.md#simulation)). A failure is a seed in which anything of this did not hold.',
  },
  walks: {
    title: 'Random walks',
    command: 'npm run sim:walks',
    what: 'One volume, its copies and a frontend, whose messages, timers and disks move on one step at a time, in an order that is drawn: what delays of a network hardly make. Checked like the simulated clusters.',
  },
  mutations: {
    title: 'Deliberate mistakes',
    command: 'npm run sim:mutations',
    what: 'Rules of the protocol switched off in the compiled code, and other mistakes, one at a time: each must be noticed by a check within so many random walks and simulated clusters as the command says (3,000 and 300, if nothing); a crash of the changed code counts for nothing. The seed is the first that noticed, or one that had noticed before. A failure is a mistake that was not noticed, or one that was though it is said to do no harm.',
  },
  scopes: {
    title: 'Small scopes: every moment of the faults',
    command: 'npm run sim:scopes',
    what: 'Three copies, two overlapping writes, and every pair of a crash or power cut, a partition and a promotion, each at every event from the first write to a little behind both acknowledgements. Checked like the simulated clusters.',
  },
  states: {
    title: 'Small scopes: every state that any order of the messages leads to',
    command: 'npm run sim:states',
    what: 'Two writes in flight, and none to three of a crash, a partition and a promotion: the production code under a scheduler that takes all orders of the messages and faults instead of drawing one; a state that was met before is recognised, and not gone on from again. “All” means that there are no others; “the first”, that a limit or a failure ended it. Sets that have too many are also run in all orders in which messages come as they were sent, but for none, one or two that overtake others (“out of their turn”); there a state in which what waits was sent in another order counts as another one. (Before states were recognised, 105,228 orders were run one by one, none of which failed; eight sets of faults were complete then.)',
  },
  model: {
    title: 'The specification',
    command: 'npm run model',
    what: 'The TLA+ specification of the protocol, checked by TLC ([what is modelled](model/README.md)): with a rule switched off there must be a counterexample, with all of them none. A failure is a run that ended otherwise; one that is “unfinished” had found nothing when its time was over.',
  },
  'crash-points': {
    title: 'Crash points of the block store',
    command: 'npm run crash',
    what: 'The real store on a disk that records: cut after every operation, with legal subsets and orders of what was not synced and with torn sectors; opened again and compared with the model of what was acknowledged and flushed.',
  },
  'kill-9': {
    title: 'Killed processes with a block store',
    command: 'npm run crash',
    what: 'A process that writes is killed at a random moment; the next one checks what was acknowledged and flushed.',
  },
  corruption: {
    title: 'Corruption',
    command: 'npm run crash',
    what: 'Bytes of stores flipped: never wrong data, never a crash, always the right report.',
  },
  fuzz: {
    title: 'Hostile input',
    command: 'npm run fuzz',
    what: 'The codec against random and hostile input: damaged streams, batches that somebody changed who knows the format and its checksums, the ciphers beside OpenSSL. Nothing may be written beyond its place, nothing wrong accepted.',
  },
  faults: {
    title: 'Faults on real processes',
    command: 'npm run faults',
    what: 'Three real agents in network namespaces, each on a filesystem of its own, a real etcd and a real Temporal server. A round breaks something by a schedule (partitions of every shape and direction, processes that are killed in any order or stand still, full disks, rot, slow and lossy links, an etcd that is away or restored from an older snapshot), while clients use all blocks of two volumes as registers over NBD and fio writes and verifies. Nothing acknowledged may be lost or stale, no request may fail or stay unanswered, and afterwards all copies must be in sync within two minutes, and identical.',
  },
  soak: {
    title: 'Soak',
    command: 'npm run soak',
    what: 'A cluster under fio with verification, ext4 and xfs in use and checked, while agents are killed and frozen and servers stopped.',
  },
  failover: {
    title: 'Failover under load',
    command: 'npm run bench -- replication --part kills --part partitions',
    what: 'The longest gap without a completed request that a client sees when the agent with its primary is killed, or cut off in silence.',
  },
};
