/** Each rule of the specification (docs/model/findings.md) switched off. */

import { edit, type Mutation, replication, store } from './mutation.js';

export const RULES_OFF: readonly Mutation[] = [
  {
    rule: 'R1',
    name: 'an activation keeps members that did not confirm',
    edits: [
      edit(
        'core/membership.js',
        'const stays = record.inSync.filter((member) => options.confirmed.has(member));',
        'const stays = [...record.inSync];',
      ),
    ],
  },
  {
    rule: 'R1',
    name: 'the start of the new epoch is one too high',
    edits: [
      replication(
        'opening',
        'startsAfter: end,\n            confirmed',
        'startsAfter: end + 1,\n            confirmed',
      ),
    ],
  },
  {
    rule: 'R2',
    name: 'another incarnation than the named one opens',
    edits: [replication('replicated-deployment', ' || incarnation !== this.store.incarnation', '')],
  },
  {
    rule: 'R2',
    name: 'a primary that was restarted goes on in its epoch',
    edits: [
      replication(
        'replicated-deployment',
        'this.#primary !== undefined || record.active)',
        'this.#primary !== undefined)',
      ),
      replication('replicated-deployment', ' || incarnation !== this.store.incarnation', ''),
      replication('primary', "invariant(!this.record.active, 'I2'", "invariant(true, 'I2'"),
      replication(
        'primary',
        "invariant(store.incarnation === this.record.primary.incarnation, 'R2'",
        "invariant(true, 'R2'",
      ),
    ],
  },
  {
    rule: 'R3',
    name: 'a removal makes an entry of the history',
    edits: [
      replication(
        'primary',
        'this.swap(removeMembers(this.record, left))',
        'this.swap(((next) => ({ ...next, history: [...next.history, { epoch: next.epoch, startsAfter: this.context.store.last.sequence }] }))(removeMembers(this.record, left)))',
      ),
    ],
  },
  {
    rule: 'R4',
    name: 'backfill does not overwrite dead orders',
    edits: [replication('sync-target', 'isDead(present.order, history)', 'false')],
  },
  {
    rule: 'R4',
    name: 'backfill overwrites newer live writes',
    edits: [
      replication('sync-target', 'isReplacedBy(present, () => readEntry(batch.entries, i), order, history)', 'true'),
    ],
  },
  {
    rule: 'R4',
    name: 'dead blocks are not listed',
    edits: [replication('sync-target', 'const dead = await store.deadBlocks(', 'const dead = ((..._) => [])(')],
  },
  {
    rule: 'R4',
    name: 'a hole is not sent in place of a dead write',
    edits: [
      replication(
        'sync-target',
        'return present === undefined\n',
        'return present === undefined || order.sequence === 0\n',
      ),
    ],
  },
  {
    rule: 'R5',
    name: 'a trim leaves no order in the index',
    edits: [
      store(
        'image',
        'record.kind = forget ? KIND_FORGOTTEN : kind;',
        'record.kind = forget || kind === 1 ? KIND_FORGOTTEN : kind;',
      ),
    ],
  },
  {
    rule: 'R6',
    name: 'the base of an interrupted sync is forgotten',
    edits: [replication('sync-target', 'store.state.syncBase ?? store.last', 'store.last')],
  },
  {
    rule: 'R6',
    name: 'the base ignores the history',
    edits: [replication('sync-target', 'sequence: commonEnd(from, history)', 'sequence: from.sequence')],
  },
  {
    rule: 'R6b',
    name: 'a base is recorded before what it stands for is flushed',
    edits: [
      replication(
        'sync-target',
        'this.#member.raise(epoch);\n        // A base is recorded only when everything up to it is durable [6b].\n        await store.flush();',
        'this.#member.raise(epoch);',
      ),
      store('superblock-updates', "if (!failed() && ('unclean' in patch || 'syncBase' in patch))", 'if (false)'),
    ],
  },
  {
    rule: 'R6c',
    name: 'a mark counts blocks that were passed over and have not come with the stream',
    edits: [replication('sync-copy', 'while (!stream.current || stream.acked < sequence)', 'while (!stream.current)')],
  },
  {
    rule: 'R6c',
    name: 'a mark is recorded before what it stands for is flushed',
    edits: [
      replication(
        'sync-target',
        'await store.flush();\n        if (!this.#goesOn(sync) || store.state.syncBase === null)',
        'if (!this.#goesOn(sync) || store.state.syncBase === null)',
      ),
    ],
  },
  {
    rule: 'R6c',
    name: 'marks ignore the history',
    edits: [replication('sync-regions', 'commonEnd(upTo, history)', 'upTo.sequence')],
  },
  {
    rule: 'R6c',
    name: 'a mark says that pieces are there that are on their way',
    edits: [
      replication(
        'sync-copy',
        'if (below !== undefined)\n                this.#mark(below);',
        'this.#mark(piece.below);',
      ),
    ],
  },
  {
    rule: 'R6c',
    name: 'marks outlive the sync that made them',
    harmless:
      'what a mark claims stays true once the sync is complete, as no copy in sync shortens its log [17]: the next base is not below it under any history, and a mark that says no more than the base is dropped (`keptRegions`)',
    edits: [
      replication(
        'sync-target',
        'store.state.syncBase === null ? [] : store.state.syncRegions',
        'store.state.syncRegions',
      ),
      replication(
        'sync-target',
        '{ syncBase: null, syncRegions: [], unclean: false }',
        '{ syncBase: null, unclean: false }',
      ),
    ],
  },
  {
    rule: 'R7',
    name: 'a target counts as a member only when its swap has succeeded',
    edits: [
      replication(
        'sync-join',
        'primary.countAsMember(stream);',
        'const adopt = primary.onRecord.bind(primary); primary.onRecord = (r) => { if (r.inSync.includes(sync.target)) primary.countAsMember(stream); adopt(r); };',
      ),
    ],
  },
  {
    rule: 'R8',
    name: 'the target is not flushed before it joins',
    edits: [
      replication(
        'sync-target',
        '// Flushed before it may become a member [8], and before it forgets the base and the unclean mark [9].\n        await store.flush();',
        '',
      ),
      store('superblock-updates', "if (!failed() && ('unclean' in patch || 'syncBase' in patch))", 'if (false)'),
      replication('sync-join', 'stream.wantDurable(copied);', ''),
      replication('sync-join', '() => stream.durable < copied', '() => false'),
    ],
  },
  {
    rule: 'R9',
    name: 'an unclean copy says that it is clean',
    edits: [
      replication(
        'replicated-deployment',
        "unclean: store.state.unclean || this.#state === 'failed'",
        'unclean: false',
      ),
    ],
  },
  {
    rule: 'R9',
    name: 'the unclean mark goes with the next start',
    edits: [store('opening', 'unclean: found.unclean || ', 'unclean: ')],
  },
  {
    rule: 'R10',
    name: 'an unclean copy is chosen while a member is silent',
    edits: [edit('core/candidate.js', 'fit.length === membership.inSync.length ? fit : []', 'fit')],
  },
  {
    rule: 'R10',
    name: 'an unclean copy with a longer log is preferred to a clean one',
    edits: [edit('core/candidate.js', 'clean.length > 0 ? clean : ', 'false ? clean : ')],
  },
  {
    rule: 'R11',
    name: 'the loss verifier stays',
    edits: [
      edit(
        'core/membership.js',
        'options.lossy ? record.lossVerifier + 1 : record.lossVerifier',
        'record.lossVerifier',
      ),
    ],
  },
  {
    rule: 'R12',
    name: 'a read does not wait for the write that it shows',
    edits: [
      replication('reads', 'this.#primary.ready && newest <= this.#primary.writes.visible', 'this.#primary.ready'),
      edit('core/frontend/requests.js', "if (request.kind !== 'flush') {", "if (request.kind === 'write') {"),
    ],
  },
  {
    rule: 'R13',
    name: 'a higher generation is not ordered',
    edits: [replication('sessions', 'session.generation > this.#ordered', 'false')],
  },
  {
    rule: 'R13',
    name: 'a target is not told the generation',
    edits: [replication('sync-source', 'if (store.generation > 0)', 'if (false)')],
  },
  {
    rule: 'R13',
    name: 'an older generation is served',
    edits: [
      replication('sessions', 'message.generation < this.#generation', 'false'),
      replication('replicated-deployment', 'message.generation < this.store.generation', 'false'),
    ],
  },
  {
    rule: 'R14',
    name: 'a write of an ended session is ordered',
    edits: [replication('writes', 'if (next.wanted()) {', 'if (true) {')],
  },
  {
    rule: 'R15',
    name: 'an unclean copy is accepted as a member',
    edits: [
      replication('peer-stream', 'if (message.unclean) {', 'if (false) {'),
      replication('member', 'if (store.state.unclean && !this.#sync.active) {', 'if (false) {'),
      replication(
        'member',
        "if (store.state.unclean) {\n                    this.refuse(from, message, 'unclean');",
        "if (false) {\n                    this.refuse(from, message, 'unclean');",
      ),
    ],
  },
  {
    rule: 'R15',
    name: 'confirmations of an earlier incarnation count',
    harmless:
      'an unclean incarnation is refused when it greets, which is the rule in the specification (`MemberClean`) and the other mistake about it here; what a clean one has confirmed it still has, its next life keeps its leases [16], and no answer of a life comes behind the next one’s greeting, as both share a connection',
    edits: [
      replication('peer-stream', 'this.durable = 0;\n            this.leaseUntil = Number.NEGATIVE_INFINITY;', ''),
      replication('peer-stream', 'message.incarnation !== this.incarnation)', 'false)'),
    ],
  },
  {
    rule: 'R16',
    name: 'a new primary does not wait for old leases',
    edits: [replication('opening', '!sealed && now < this.#oldLeasesEnd', 'false')],
  },
  {
    rule: 'R16',
    name: 'a candidate forgets what its earlier life granted',
    edits: [
      replication(
        'member',
        'this.#assumedUntil = context.clock.now() + context.settings.leaseMs',
        'this.#assumedUntil = context.clock.now()',
      ),
    ],
  },
  {
    rule: 'R17',
    name: 'a member with a longer log stays',
    edits: [
      replication(
        'peer-stream',
        'message.last.sequence > store.last.sequence ||\n            (message.last.sequence === store.last.sequence && message.last.epoch !== store.last.epoch) ||\n            isDead(message.last, store.state.history)',
        'false',
      ),
      replication(
        'opening',
        'member.current && member.acked === end && member.failure === undefined',
        'member.current && member.acked >= end && member.failure === undefined',
      ),
    ],
  },
  {
    rule: 'R18',
    name: 'the tail has dead entries as well',
    harmless:
      'dead entries of a copy that can be a primary lie before the position record with which its last sync began, and the reader begins behind that (`streamStart`); the specification’s log has no such record, and needs the rule',
    edits: [store('log-reader', 'Math.min(next - 1, lastLive(header.epoch, history))', 'next - 1')],
  },
  {
    rule: 'R19',
    name: 'a write counts as the own one before it is in the page cache',
    edits: [replication('writes', 'let replicated = this.#written;', 'let replicated = context.store.last.sequence;')],
  },
  {
    rule: 'R19',
    name: 'a member confirms what is not in the page cache yet',
    edits: [
      replication(
        'member',
        'await store.written();\n        // The primary sends no more',
        '// The primary sends no more',
      ),
    ],
  },
];
