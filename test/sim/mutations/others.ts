/** Mistakes beside the rules: leases, invariants, flushes, the stream, syncs and mending. */

import { edit, type Mutation, replication, store } from './mutation.js';

export const OTHER_MISTAKES: readonly Mutation[] = [
  {
    rule: 'leases',
    name: 'a primary goes on without its leases',
    edits: [replication('primary', '!member.current || member.leaseUntil <= now', '!member.current')],
  },
  {
    rule: 'leases',
    name: 'a primary counts a lease from its answer',
    edits: [
      replication(
        'peer-stream',
        'askedAt + leaseMs - leaseMarginMs',
        'this.#owner.context.clock.now() + leaseMs - leaseMarginMs',
      ),
    ],
  },
  {
    rule: 'leases',
    name: 'a member forgets what it has granted',
    edits: [
      replication('member', 'this.#grantedUntil = this.#context.clock.now() + this.#context.settings.leaseMs;', ''),
    ],
  },
  {
    rule: 'I1',
    name: 'acknowledged by the primary alone',
    edits: [replication('writes', 'if (member.acked < replicated)', 'if (false)')],
  },
  {
    rule: 'I1',
    name: 'acknowledged before the removal is in etcd',
    edits: [
      replication(
        'primary',
        'this.context.background(this.#remove(failed));',
        'this.members = this.members.filter((member) => member.failure === undefined); this.context.background(this.#remove(failed));',
      ),
    ],
  },
  {
    rule: 'I1',
    name: 'an unknown swap is taken for a success',
    edits: [replication('primary', "if (outcome === 'applied') {", "if (outcome !== 'conflict') {")],
  },
  {
    rule: 'I3',
    name: 'an epoch is promised before that is on the disk',
    harmless:
      'a deposed primary needs a lease and the confirmations of every copy in sync, the candidate among them, whose own promise is on its disk before it acts; in the specification a promise and its answer are one step',
    edits: [
      replication(
        'member',
        'promised ? answer() : this.promise(message.epoch, message.history).then(answer)',
        'Promise.all([promised ? undefined : this.promise(message.epoch, message.history), answer()])',
      ),
    ],
  },
  {
    rule: 'I3',
    name: 'a primary acts before its own promise is on the disk',
    harmless:
      'if it starts anew without its promise, the deposed primary needs it and all others in sync as members: these have promised durably, and what it has acknowledged alone makes its log the longer one [17]; in the specification a primary’s epoch is durable in the step in which it learns of it',
    edits: [replication('primary', 'return this.#ownEpoch === this.record.epoch;', 'return true;')],
  },
  {
    rule: 'I3',
    name: 'an older epoch is accepted',
    edits: [
      replication(
        'member',
        'if (message.epoch < this.#floor) {\n            this.refuse',
        'if (false) {\n            this.refuse',
      ),
    ],
  },
  {
    rule: 'I7',
    name: 'a sequence is given twice',
    edits: [
      replication(
        'writes',
        'const first = (store.last.sequence + 1);',
        'const first = Math.max(1, store.last.sequence);',
      ),
    ],
  },
  {
    rule: 'FLUSH',
    name: 'a flush does not wait for the own disk',
    edits: [
      replication(
        'writes',
        'let durable = this.#primary.context.store.durable;',
        'let durable = this.#primary.context.store.last.sequence;',
      ),
    ],
  },
  {
    rule: 'FLUSH',
    name: 'a member answers a flush without flushing',
    edits: [
      replication(
        'member',
        'const flushed = store.flush().then(() => {',
        'const flushed = Promise.resolve().then(() => {',
      ),
    ],
  },
  {
    rule: 'FLUSH',
    name: 'a flush does not wait for members',
    edits: [replication('writes', 'if (member.durable < durable)', 'if (false)')],
  },
  {
    rule: 'stream',
    name: 'a gap in the stream is appended',
    harmless:
      'a second line of defence: connections deliver in order or break, a new one begins where the member says that its log ends, and a member that was restarted with a shorter one has another incarnation [15]',
    edits: [replication('member', 'message.firstSequence > expected || ', '')],
  },
  {
    rule: 'stream',
    name: 'a trim of blocks with data is dropped',
    edits: [replication('writes', 'head.changes = written !== undefined;', 'head.changes = false;')],
  },
  {
    rule: 'sync',
    name: 'a sync leaves the last changed block out',
    edits: [
      replication(
        'sync-copy',
        'await this.#send(blocks, liveAfter);',
        'await this.#send(blocks.slice(0, -1), liveAfter);',
      ),
    ],
  },
  {
    rule: 'sync',
    name: 'a sync takes blocks for live that are not in the stream',
    edits: [replication('sync-copy', '<= liveAfter)', '< liveAfter)')],
  },
  {
    rule: 'sync',
    name: 'a sync ends while writes are under way',
    edits: [
      replication('sync-join', 'if (done && stream.current && stream.acked === store.last.sequence)', 'if (true)'),
      replication('sync-target', 'if (store.last.sequence !== message.last.sequence) {', 'if (false) {'),
    ],
  },
  {
    rule: 'mending',
    name: 'a mended block is any block with that number',
    edits: [
      replication(
        'damage',
        '!isSame(part.entry, order, block) && !fillsGap(part.entry, order, block, completeTo, store.state.history)',
        'false',
      ),
      replication('damage', 'present === undefined || !sameOrder(present.order, block.order)', 'false'),
    ],
  },
  {
    rule: 'mending',
    name: 'a block that was overwritten meanwhile is mended',
    edits: [replication('damage', 'present === undefined || !sameOrder(present.order, block.order)', 'false')],
  },
  {
    rule: 'mending',
    name: 'what was damaged on its way is taken',
    edits: [replication('member', 'if (!this.#context.verify(message.batch)) {', 'if (false) {')],
  },
  {
    rule: 'payloads',
    name: 'a joined batch is released for each of its writes',
    edits: [
      replication(
        'in-flight',
        'release(flight.batch);',
        'for (let i = 0; i < flight.done.length; i++) release(flight.batch);',
      ),
    ],
  },
  {
    rule: 'decision 23',
    name: 'an accepted loss keeps the copies that were away, and takes the next epoch',
    edits: [
      edit(
        'core/recovery.js',
        "absent.some((risk) => 'deployment' in risk && risk.deployment === deployment)",
        'false',
      ),
      edit('core/recovery.js', 'absent.length > 0 || isAlone ? UNSEEN_EPOCHS : 1', '1'),
    ],
  },
  {
    rule: 'decision 23',
    name: 'an accepted loss is of all but the oldest copy',
    edits: [
      edit(
        'core/recovery.js',
        '[clean, complete, outdated, members].find(',
        '[input.silent.length > 0 ? copies.filter(isComplete).sort((a, b) => a.status.promised - b.status.promised).slice(0, 1) : [], clean, complete, outdated, members].find(',
      ),
      edit(
        'core/recovery.js',
        'const isAlone = complete.length === 0;',
        'const isAlone = complete.length === 0 || input.silent.length > 0;',
      ),
    ],
  },
  {
    rule: 'attachments',
    name: 'an older etcd counts attachments from where it is',
    edits: [
      edit('core/attachment.js', 'Math.max(known + 1, Date.parse(timestamp))', 'known + 1'),
      edit('core/attachment.js', 'Math.max(current.generation, met)', 'current.generation'),
      edit('core/attachment.js', 'current.generation >= seen', 'true'),
    ],
  },
  {
    rule: 'tombstones',
    name: 'a tombstone is buried though the disk has refused the erasure',
    edits: [edit('node-agent/erasure.js', 'await remove(deployment)', 'await remove(deployment).catch(() => {})')],
  },
  {
    rule: 'tombstones',
    name: 'a removal is taken for done before the directory is synced',
    edits: [
      store('node-stores', 'await disk.syncDirectory(parentOf(left.directory));', ''),
      store('node-stores', 'await this.#erase(left.directory, left.inode, left.unsynced);', ''),
    ],
  },
  {
    rule: 'payloads',
    name: 'a log writes what its members have received from memory that it does not hold',
    edits: [
      edit('node-agent/store/log-writer.js', 'retain(batch);', ''),
      edit('node-agent/store/log-writer.js', 'release(batch);', 'void batch;'),
    ],
  },
];
