-------------------------- MODULE VolumeReplication --------------------------
(***************************************************************************)
(* One replicated volume: a membership record changed by compare-and-swap, *)
(* a primary, members, a failover procedure, delta sync, crashes and power *)
(* loss, reads under leases of the members, attachment generations.       *)
(*                                                                         *)
(* Every rule that the checks proved necessary is a switch (constant       *)
(* BOOLEAN).  All TRUE = the corrected protocol.  Setting one to FALSE     *)
(* gives the unsafe variant and TLC prints the counterexample.             *)
(*                                                                         *)
(* Abstractions: a message exchange is one step, in any order, possibly    *)
(* never; appends of a crashed primary may still arrive (Replicate works   *)
(* while its last view is not overtaken).  A CAS request stays in `casq`   *)
(* until it is applied, refused or lost, at any later time, whatever its   *)
(* issuer believes meanwhile; the issuer tries the same one again until it *)
(* is applied or refused, and acknowledges meanwhile what both outcomes    *)
(* allow.  Time is abstract: a primary's lease from a member may end at    *)
(* any moment, the member's own promise at any moment behind that.         *)
(*                                                                         *)
(* The code: core/replication, core/membership.ts, core/candidate.ts.      *)
(* What is not here: README.md, "What the model does not cover".           *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets, TLC

CONSTANTS
  D, P0, Blocks, NW, K1,       \* deployments, first primary, blocks, writes 1..NW; 1..K1 belong to frontend 1
  TrimW,                       \* the writes that are TRIMs
  Ins0,                        \* initial inSync
  MaxEpoch, MaxLog, MaxCrash, MaxPower, MaxSync, MaxRemove, MaxFlush, UseFence, UseDelay,
  UseRead, UseWf,              \* leave reads or the failover out of a configuration
  OwnAsync,                    \* a primary's own entries get into the page cache later than to the members
  \* ---- switches: TRUE = corrected rule
  TwoPhase,      \* R1  promotion = CAS 1 (names the primary, nobody leaves) + tail exchange + CAS 2 (exact end, members confirmed)
  SealFirst,     \*     alternative with one CAS: the asked member closes the old epoch before it answers (used with TwoPhase = FALSE)
  SealedOnly,    \*     and inSync = the members that answered (FALSE: minus the old primary, as first written)
  IncCheck,      \* R2  only the incarnation named in the record opens; a restart is a new epoch
  HistExact,     \* R3  membership changes by the same primary do not start a history entry with a guessed end
  CompareDead,   \* R4  a target's dead order counts as lowest in the backfill comparison; holes are sent
  KeepTomb,      \* R5  a TRIM stays in the index with its order
  UseBase,       \* R6  a syncing target keeps its durable sync base until the sync is complete
  AddMaybe,      \* R7  from the issue of an add-CAS the target counts as a member until a higher epoch is seen
  FlushAdd,      \* R8  the target is flushed before the CAS that adds it
  Sticky,        \* R9  the unclean mark is durable until the copy is rebuilt or chosen
  CleanOnly,     \* R10 an unclean member is promoted only when all members answered and all are unclean
  LossVerifier,  \* R11 after an unclean promotion FLUSH fails once to the attached frontend
  ReadCommitted, \* R12 a read waits for an in-flight write of the same block
  LeaseUse,      \* rule 6
  GenReplicated, \* R13 a higher attachment generation is on every member before anything is served under it
  MemberClean,   \* R15 an unclean incarnation is not accepted as a member; answers of an older incarnation do not count
  OwnGrants,     \* R16 a candidate waits until what it granted older primaries has run out, unless all are sealed
  NoRollback,    \* R17 an in-sync member never invalidates its own suffix
  SessionFence,  \* R14 a new frontend session discards all requests of older ones
  SkipDead,      \* R18 dead entries that are still in the log are never sent as its tail
  OwnCounts      \* R19 a write counts as the primary's own only when it is in the page cache

VARIABLES recs, casq, up, inc, role, view, maybe, pend, acks, log, own, dur, prom, seal,
          base, susp, sync, held, grant, wf, wr, wb, gen, att, old, flushed, seen, doomed,
          forgiven, loss, bad, bud

etcd  == <<recs, casq>>
procs == <<up, inc, role, view, maybe, pend, acks, held, grant>>
disk  == <<log, own, dur, prom, seal, base, susp>>
cli   == <<wr, wb, att, old, flushed, seen, doomed, forgiven, loss>>
vars  == <<recs, casq, up, inc, role, view, maybe, pend, acks, log, own, dur, prom, seal,
          base, susp, sync, held, grant, wf, wr, wb, gen, att, old, flushed, seen, doomed,
          forgiven, loss, bad, bud>>

W       == 1..NW
NoH     == 99
NoSync  == [p |-> P0, t |-> P0, todo |-> {}, msg |-> <<>>, on |-> FALSE]
NoWf    == [e |-> 0, ans |-> [d \in D |-> <<>>]]
Max(S)  == CHOOSE x \in S : \A y \in S : x >= y
Min(S)  == CHOOSE x \in S : \A y \in S : x <= y
E       == Len(recs)
GenOf(v) == IF v <= K1 THEN 1 ELSE 2

Zero(b) == [e |-> 0, s |-> 0, b |-> b, v |-> 0, f |-> TRUE]
\* The index: the newest log position of a block (appends are already filtered by the compare rule).
Idx(l, b) == LET P == {i \in 1..Len(l) : l[i].b = b} IN IF P = {} THEN Zero(b) ELSE l[Max(P)]
Val(d, b) == Idx(log[d], b).v
\* The order that the index remembers.  Without R5 a TRIM removes its entry.
OrdOf(x) == IF ~KeepTomb /\ x.v \in TrimW THEN <<0, 0>> ELSE <<x.e, x.s>>
Lower(x, y) == x[1] < y[1] \/ (x[1] = y[1] /\ x[2] < y[2])
\* Last order of the stream (backfilled blocks do not count).
LastX(l) == LET P == {i \in 1..Len(l) : ~l[i].f} IN IF P = {} THEN [e |-> 0, s |-> 0] ELSE l[Max(P)]
LastS(d) == LastX(log[d]).s
\* (e, s) is dead for a primary in epoch ep: a later epoch began before s.
Dead(x, ep) == x.e > 0 /\ \E k \in (x.e + 1)..ep : recs[k].sa < x.s
Ins(p)  == recs[view[p]].ins
Eff(p)  == Ins(p) \cup maybe[p]
PromE(p) == Max({k \in 1..view[p] : recs[k].pr})
\* What the end of the process does not take: own[d] entries of its log are in the page cache.
OwnLast(p) == IF OwnCounts THEN LastX(SubSeq(log[p], 1, own[p])).s ELSE LastS(p)
Comm(p) == Min({IF m = p THEN OwnLast(p) ELSE acks[p][m] : m \in Eff(p)})
\* The log of d is log' from now on, all of it in the page cache before anybody is told of it.
Kept(d) == own' = [own EXCEPT ![d] = Len(log'[d])]
\* A primary sends what it orders at once, and writes it meanwhile.
Ordered(p) == own' = IF OwnAsync THEN own ELSE [own EXCEPT ![p] = Len(log'[p])]
AckedW  == {v \in W : wr[v] = 2}
Owed(b) == {v \in AckedW \ forgiven : wb[v] = b} \cup {0}
OwedF(b) == {v \in flushed : wb[v] = b} \cup {0}
Fail(m) == bad' = IF bad = "ok" THEN m ELSE bad
AcceptsT(m, e) == up[m] /\ prom[m] <= e /\ seal[m] < e
Accepts(m, e) == AcceptsT(m, e) /\ (MemberClean => ~susp[m])

Init ==
  /\ recs = <<[prim |-> P0, pi |-> 1, ins |-> Ins0, sa |-> 0, pr |-> TRUE, op |-> TRUE]>>
  /\ casq = {} /\ up = [d \in D |-> TRUE] /\ inc = [d \in D |-> 1]
  /\ role = [d \in D |-> IF d = P0 THEN "open" ELSE "none"]
  /\ view = [d \in D |-> IF d = P0 THEN 1 ELSE 0]
  /\ maybe = [d \in D |-> {}] /\ pend = [d \in D |-> FALSE]
  /\ acks = [d \in D |-> [m \in D |-> 0]]
  /\ log = [d \in D |-> <<>>] /\ own = [d \in D |-> 0] /\ dur = [d \in D |-> 0]
  /\ prom = [d \in D |-> 1] /\ seal = [d \in D |-> 0]
  /\ base = [d \in D |-> <<>>] /\ susp = [d \in D |-> FALSE]
  /\ sync = NoSync /\ held = [d \in D |-> {}] /\ grant = [d \in D |-> {}] /\ wf = NoWf
  /\ wr = [v \in W |-> 0] /\ wb \in [W -> Blocks]
  /\ gen = [d \in D |-> 1] /\ att = 1 /\ old = {}
  /\ flushed = {} /\ seen = [b \in Blocks |-> 0] /\ doomed = {} /\ forgiven = {}
  /\ loss = FALSE /\ bad = "ok"
  /\ bud = [crash |-> MaxCrash, power |-> MaxPower, sync |-> MaxSync, rem |-> MaxRemove, flush |-> MaxFlush]

--------------------------------------------------------------------------------
(* Frontends *)

\* A write may be issued when every earlier overlapping write of the same frontend is
\* acknowledged (the frontend serialises overlaps) and its generation is attached.
MayIssue(v) ==
  \/ wr[v] = 1
  \/ /\ wr[v] = 0 /\ GenOf(v) = att
     /\ \A u \in 1..(v - 1) : wr[u] # 0 \/ GenOf(u) < att
     /\ \A u \in 1..(v - 1) : (wb[u] = wb[v] /\ GenOf(u) = GenOf(v)) => wr[u] = 2

\* The primary holds a lease of every other effective member.
Leased(p) == LeaseUse => (Eff(p) \ {p}) \subseteq held[p]

GenOk(p, g) == g >= gen[p] /\ ((g > gen[p] /\ GenReplicated) => \A m \in Eff(p) : Accepts(m, view[p]))
TakeGen(p, g) == IF g > gen[p]
                 THEN gen' = [d \in D |-> IF d = p \/ (GenReplicated /\ d \in Eff(p)) THEN g ELSE gen[d]]
                 ELSE gen' = gen

Append1(p, v) == [log EXCEPT ![p] = Append(@, [e |-> view[p], s |-> LastS(p) + 1, b |-> wb[v], v |-> v, f |-> FALSE])]

\* First sending, or the replay of an unacknowledged write after a promotion.
\* A generation is adopted only when nothing of an older one is in flight (it is ordered in the log).
Write(p, v) ==
  /\ role[p] = "open" /\ MayIssue(v) /\ Len(log[p]) < MaxLog
  /\ ~ \E i \in 1..Len(log[p]) : log[p][i].v = v /\ log[p][i].e >= PromE(p)
  /\ GenOk(p, GenOf(v)) /\ (GenOf(v) > gen[p] /\ GenReplicated => Comm(p) = LastS(p))
  /\ TakeGen(p, GenOf(v))
  /\ log' = Append1(p, v) /\ Ordered(p)
  /\ wr' = [wr EXCEPT ![v] = IF @ = 0 THEN 1 ELSE @]
  /\ UNCHANGED <<etcd, procs, dur, prom, seal, base, susp, sync, wf, wb, att, old, flushed, seen, doomed, forgiven, loss, bad, bud>>

\* The request sits in the primary's socket buffer; the frontend times out and will send it again.
Buffered(p, v) ==
  /\ UseDelay /\ role[p] = "open" /\ MayIssue(v) /\ wr[v] = 0 /\ old = {}
  /\ old' = {<<v, p, view[p]>>} /\ wr' = [wr EXCEPT ![v] = 1]
  /\ UNCHANGED <<etcd, procs, disk, sync, wf, gen, wb, att, flushed, seen, doomed, forgiven, loss, bad, bud>>

Unbuffer(x) ==
  /\ x \in old /\ role[x[2]] = "open" /\ view[x[2]] = x[3] /\ Len(log[x[2]]) < MaxLog
  /\ GenOk(x[2], GenOf(x[1])) /\ (GenOf(x[1]) > gen[x[2]] /\ GenReplicated => Comm(x[2]) = LastS(x[2]))
  /\ TakeGen(x[2], GenOf(x[1]))
  /\ SessionFence => ~ \E d \in D : \E i \in 1..Len(log[d]) : log[d][i].v = x[1]
  /\ log' = Append1(x[2], x[1]) /\ Ordered(x[2]) /\ old' = {}
  /\ UNCHANGED <<etcd, procs, dur, prom, seal, base, susp, sync, wf, wr, wb, att, flushed, seen, doomed, forgiven, loss, bad, bud>>

\* Its own entries are in the page cache, all or the next one.
Written(p) ==
  /\ own[p] < Len(log[p]) /\ up[p]
  /\ \E n \in {own[p] + 1, Len(log[p])} : own' = [own EXCEPT ![p] = n]
  /\ UNCHANGED <<etcd, procs, log, own, dur, prom, seal, base, susp, sync, wf, gen, cli, bad, bud>>

\* Also while a swap is under way: Eff(p) is what both of its outcomes demand.
Ack(p, v) ==
  /\ role[p] = "open" /\ wr[v] = 1 /\ Leased(p)
  /\ \E i \in 1..Len(log[p]) : log[p][i].v = v /\ log[p][i].s <= Comm(p) /\ log[p][i].e >= PromE(p)
  /\ \A m \in Ins(p) : prom[m] >= view[p]
  /\ wr' = [wr EXCEPT ![v] = 2]
  /\ UNCHANGED <<etcd, procs, disk, sync, wf, gen, wb, att, old, flushed, seen, doomed, forgiven, loss, bad, bud>>

\* A read by the frontend of generation g.
Read(p, b, g) ==
  /\ UseRead /\ role[p] = "open" /\ g \in 1..att /\ GenOk(p, g)
  /\ Leased(p)
  /\ ReadCommitted => Idx(log[p], b).s <= Comm(p)
  /\ (g > gen[p] /\ GenReplicated => Comm(p) = LastS(p))
  \* the frontend replays before anything new: its own unacknowledged writes come first
  /\ \A u \in W : (wr[u] = 1 /\ GenOf(u) = g /\ wb[u] = b) => \E i \in 1..Len(log[p]) : log[p][i].v = u /\ log[p][i].e >= PromE(p)
  /\ TakeGen(p, g)
  /\ LET v == Val(p, b) IN
     /\ Fail(IF v < Max(Owed(b)) THEN "read lost an acknowledged write"
             ELSE IF v < seen[b] THEN "read misses what an earlier read returned"
             ELSE IF v \in doomed THEN "a fenced, unacknowledged write came back" ELSE bad)
     /\ seen' = [seen EXCEPT ![b] = Max({@, v})]
     \* once generation g has looked, older unacknowledged writes it did not see must never appear
     /\ doomed' = doomed \cup {u \in W : wr[u] = 1 /\ GenOf(u) < g /\ wb[u] = b /\ u > v}
     /\ (gen' # gen \/ seen' # seen \/ doomed' # doomed \/ bad' # bad)
  /\ UNCHANGED <<etcd, procs, disk, sync, wf, wr, wb, att, old, flushed, forgiven, loss, bud>>

\* FLUSH: durable on every effective member.
Flush(p) ==
  /\ bud.flush > 0 /\ role[p] = "open" /\ Leased(p)
  /\ \A m \in Eff(p) : Accepts(m, view[p]) /\ prom[m] = view[p] /\ (m # p => acks[p][m] >= Comm(p))
  /\ bud' = [bud EXCEPT !.flush = @ - 1]
  /\ IF LossVerifier /\ loss
     THEN /\ loss' = FALSE /\ UNCHANGED <<flushed, own, dur>>     \* EIO, once; the frontend knows
     ELSE /\ dur' = [d \in D |-> IF d \in Eff(p) THEN Len(log[d]) ELSE dur[d]]
          /\ own' = [d \in D |-> IF d \in Eff(p) THEN Len(log[d]) ELSE own[d]]
          /\ flushed' = flushed \cup (IF LossVerifier THEN AckedW \ forgiven ELSE AckedW) /\ loss' = loss
  /\ UNCHANGED <<etcd, procs, log, prom, seal, base, susp, sync, wf, gen, wr, wb, att, old, seen, doomed, forgiven, bad>>

\* The volume is attached elsewhere; the old frontend is partitioned and does not know.
Fence == /\ UseFence /\ att = 1 /\ att' = 2
         /\ UNCHANGED <<etcd, procs, disk, sync, wf, gen, wr, wb, old, flushed, seen, doomed, forgiven, loss, bad, bud>>

--------------------------------------------------------------------------------
(* Replication *)

\* One entry of p's log reaches m, under p's epoch (the authority) and with its own order (its identity).
\* p may be down meanwhile: the message was in the network.
Replicate(p, m) ==
  /\ p # m /\ view[p] > 0 /\ (role[p] # "none" \/ (prom[p] = view[p] /\ ~susp[p] /\ m \in Eff(p)))
  /\ \/ m \in Eff(p) /\ Accepts(m, view[p])
     \/ sync.on /\ sync.p = p /\ sync.t = m /\ AcceptsT(m, view[p])
  /\ role[m] = "none"
  /\ LET n == LastS(m) + 1
         I == {i \in 1..Len(log[p]) : /\ ~log[p][i].f /\ log[p][i].s = n /\ log[p][i].b # 0
                                      /\ SkipDead => (n <= LastS(p) /\ ~Dead(log[p][i], view[p]))} IN
     IF I # {}
     THEN \* contiguous: append.  (An entry beyond the member's last sequence only.)
          /\ Len(log[m]) < MaxLog
          /\ log' = [log EXCEPT ![m] = Append(@, log[p][Max(I)])] /\ Kept(m)
          /\ acks' = [acks EXCEPT ![p][m] = IF role[p] = "none" THEN @ ELSE n]
          /\ prom' = [prom EXCEPT ![m] = view[p]]
     ELSE \* nothing missing: the member only promises the epoch and reports its last order.
          /\ (IF TwoPhase THEN LastS(m) = LastS(p) ELSE LastS(m) >= LastS(p)) /\ role[p] # "none" /\ log' = log /\ Kept(m)
          /\ acks' = [acks EXCEPT ![p][m] = LastS(p)]
          /\ prom' = [prom EXCEPT ![m] = view[p]]
          /\ (acks' # acks \/ prom' # prom)
  /\ UNCHANGED <<etcd, up, inc, role, view, maybe, pend, held, grant, dur, seal, base, susp, sync, wf, gen, cli, bad, bud>>

\* m promises p, in m's present life, to serve nobody else for the lease time.  The answer may be lost.
Grant(p, m) ==
  /\ LeaseUse /\ role[p] = "open" /\ m \in Eff(p) \ {p} /\ m \notin held[p]
  /\ Accepts(m, view[p]) /\ prom[m] = view[p] /\ role[m] = "none"
  /\ grant' = [grant EXCEPT ![m] = @ \cup {<<p, inc[m]>>}]
  /\ \E got \in BOOLEAN : held' = IF got THEN [held EXCEPT ![p] = @ \cup {m}] ELSE held
  /\ (grant' # grant \/ held' # held)
  /\ UNCHANGED <<etcd, up, inc, role, view, maybe, pend, acks, disk, sync, wf, gen, cli, bad, bud>>
\* The primary counts a lease from its question, and shorter.
LeaseExpire(p, m) == /\ m \in held[p] /\ held' = [held EXCEPT ![p] = @ \ {m}]
  /\ UNCHANGED <<etcd, up, inc, role, view, maybe, pend, acks, grant, disk, sync, wf, gen, cli, bad, bud>>
\* The member counts it from its answer: its promise ends when the primary has stopped to rely on it.
GrantExpire(m, x) == /\ x \in grant[m] /\ m \notin held[x[1]] /\ grant' = [grant EXCEPT ![m] = @ \ {x}]
  /\ UNCHANGED <<etcd, up, inc, role, view, maybe, pend, acks, held, disk, sync, wf, gen, cli, bad, bud>>

--------------------------------------------------------------------------------
(* Membership *)

CanSwap(p) == role[p] = "open" /\ E < MaxEpoch
Change(p, ins) == [g |-> view[p], prim |-> p, pi |-> inc[p], ins |-> ins,
                   sa |-> IF HistExact THEN NoH ELSE LastS(p), pr |-> FALSE, op |-> TRUE]

Remove(p, m) ==
  /\ CanSwap(p) /\ m \in Ins(p) \ {p} /\ bud.rem > 0 /\ ~pend[p]
  /\ casq' = casq \cup {Change(p, Ins(p) \ {m})}
  /\ pend' = [pend EXCEPT ![p] = TRUE] /\ bud' = [bud EXCEPT !.rem = @ - 1]
  /\ UNCHANGED <<recs, up, inc, role, view, maybe, acks, held, grant, disk, sync, wf, gen, cli, bad>>

\* A promotion attempt sealed a member and died: the primary, still named, opens a fresh epoch over it.
Raise(p) ==
  /\ SealFirst /\ CanSwap(p) /\ ~pend[p] /\ \E m \in Ins(p) : seal[m] >= view[p]
  /\ casq' = casq \cup {Change(p, Ins(p))} /\ pend' = [pend EXCEPT ![p] = TRUE]
  /\ UNCHANGED <<recs, up, inc, role, view, maybe, acks, held, grant, disk, sync, wf, gen, cli, bad, bud>>

CasApply(c) ==
  /\ c \in casq /\ casq' = casq \ {c}
  /\ recs' = IF c.g = E /\ E < MaxEpoch
             THEN Append(recs, [prim |-> c.prim, pi |-> c.pi, ins |-> c.ins, sa |-> c.sa, pr |-> c.pr, op |-> c.op]) ELSE recs
  /\ UNCHANGED <<procs, disk, sync, wf, gen, cli, bad, bud>>

\* The outcome arrives (perhaps late: e need not be the newest epoch).
Learn(p, e) ==
  /\ role[p] # "none" /\ e \in (view[p] + 1)..E
  /\ \A k \in (view[p] + 1)..e : recs[k].prim = p /\ recs[k].pi = inc[p]
  /\ view' = [view EXCEPT ![p] = e] /\ prom' = [prom EXCEPT ![p] = Max({@, e})]
  /\ maybe' = [maybe EXCEPT ![p] = {}] /\ pend' = [pend EXCEPT ![p] = FALSE]
  /\ sync' = IF sync.on /\ sync.p = p /\ sync.t \in recs[e].ins THEN NoSync ELSE sync
  /\ UNCHANGED <<etcd, up, inc, role, acks, held, grant, log, own, dur, seal, base, susp, wf, gen, cli, bad, bud>>

StepDown(p) ==
  /\ role[p] # "none" /\ E > view[p] /\ (recs[E].prim # p \/ recs[E].pi # inc[p])
  /\ role' = [role EXCEPT ![p] = "none"] /\ held' = [held EXCEPT ![p] = {}]
  /\ pend' = [pend EXCEPT ![p] = FALSE] /\ maybe' = [maybe EXCEPT ![p] = {}]
  /\ view' = [view EXCEPT ![p] = 0]
  /\ sync' = IF sync.p = p THEN NoSync ELSE sync
  /\ UNCHANGED <<etcd, up, inc, grant, acks, disk, wf, gen, cli, bad, bud>>

--------------------------------------------------------------------------------
(* Failover *)

WfStart == /\ UseWf /\ E < MaxEpoch /\ wf.e # E /\ wf' = [e |-> E, ans |-> [d \in D |-> <<>>]]
           /\ UNCHANGED <<etcd, procs, disk, sync, gen, cli, bad, bud>>

WfAsk(m) ==
  /\ wf.e > 0 /\ wf.e = E /\ up[m] /\ m \in recs[wf.e].ins /\ wf.ans[m] = <<>>
  /\ wf' = [wf EXCEPT !.ans[m] = <<LastS(m), IF susp[m] THEN 0 ELSE 1, inc[m]>>]
  /\ IF SealFirst
     THEN /\ seal' = [seal EXCEPT ![m] = Max({@, wf.e})]
          /\ role' = [role EXCEPT ![m] = "none"]
          /\ view' = [view EXCEPT ![m] = IF role[m] = "none" THEN @ ELSE 0]
          /\ held' = [held EXCEPT ![m] = {}] /\ pend' = [pend EXCEPT ![m] = FALSE]
          /\ maybe' = [maybe EXCEPT ![m] = {}]
          /\ sync' = IF sync.p = m THEN NoSync ELSE sync
     ELSE UNCHANGED <<seal, role, view, held, pend, maybe, sync>>
  /\ UNCHANGED <<etcd, up, inc, grant, acks, log, own, dur, prom, base, susp, gen, cli, bad, bud>>

WfCas ==
  /\ wf.e > 0 /\ E < MaxEpoch
  /\ LET ins == recs[wf.e].ins
         A   == {m \in ins : wf.ans[m] # <<>>}
         C   == {m \in A : wf.ans[m][2] = 1}
         Pool == IF ~CleanOnly THEN A ELSE IF C # {} THEN C ELSE IF A = ins THEN A ELSE {} IN
     \E c \in Pool :
       /\ \A m \in Pool : wf.ans[m][1] <= wf.ans[c][1]
       /\ LET keep == IF SealedOnly THEN (IF C # {} /\ CleanOnly THEN C ELSE IF CleanOnly THEN {c} ELSE A)
                      ELSE (A \ {recs[wf.e].prim}) \cup {c} IN
          casq' = casq \cup {[g |-> wf.e, prim |-> c, pi |-> wf.ans[c][3], ins |-> IF TwoPhase THEN ins ELSE keep,
                              sa |-> IF TwoPhase THEN NoH ELSE wf.ans[c][1], pr |-> TRUE, op |-> ~TwoPhase]}
  /\ wf' = NoWf
  /\ UNCHANGED <<recs, procs, disk, sync, gen, cli, bad, bud>>

Promote(q) ==
  /\ up[q] /\ role[q] = "none" /\ recs[E].prim = q /\ view[q] # E /\ prom[q] <= E /\ seal[q] < E
  /\ IF IncCheck THEN recs[E].pi = inc[q] ELSE TRUE
  /\ role' = [role EXCEPT ![q] = "opening"] /\ view' = [view EXCEPT ![q] = E]
  /\ prom' = [prom EXCEPT ![q] = E] /\ acks' = [acks EXCEPT ![q] = [m \in D |-> 0]]
  /\ maybe' = [maybe EXCEPT ![q] = {}] /\ pend' = [pend EXCEPT ![q] = FALSE]
  /\ sync' = IF sync.t = q THEN NoSync ELSE sync
  /\ UNCHANGED <<etcd, up, inc, held, grant, log, own, dur, seal, base, susp, wf, gen, cli, bad, bud>>

\* CAS 2: the history entry with the exact end of the old epochs, and the members that confirmed
\* exactly this end.  A member that is away, unclean or longer leaves here.
Sealed(q) == \A m \in Ins(q) \ {q} : prom[m] >= view[q]
\* What an earlier life granted is waited for as well, unless it was the active primary right before.
ServedItself(q) == view[q] > 1 /\ recs[view[q] - 1].op /\ recs[view[q] - 1].prim = q
GrantsOver(q) == \A x \in grant[q] : x[2] < inc[q] /\ ServedItself(q)

Activate(q) ==
  /\ TwoPhase /\ role[q] = "opening" /\ ~recs[view[q]].op /\ E < MaxEpoch /\ ~pend[q]
  /\ own[q] = Len(log[q])
  /\ (LeaseUse /\ OwnGrants) => (Sealed(q) \/ GrantsOver(q) \/ Ins(q) = {q})
  /\ LET K == {q} \cup {m \in Ins(q) \ {q} : acks[q][m] = LastS(q) /\ prom[m] >= view[q] /\ ~susp[m]} IN
     casq' = casq \cup {[g |-> view[q], prim |-> q, pi |-> inc[q], ins |-> IF susp[q] THEN {q} ELSE K,
                         sa |-> LastS(q), pr |-> TRUE, op |-> TRUE]}
  /\ pend' = [pend EXCEPT ![q] = TRUE]
  /\ UNCHANGED <<recs, up, inc, role, view, maybe, acks, held, grant, disk, sync, wf, gen, cli, bad, bud>>

\* An opening primary may not get an answer from a member any more: it drops it by CAS like an open one.
OpenDrop(q, m) ==
  /\ ~TwoPhase /\ role[q] = "opening" /\ E < MaxEpoch /\ ~pend[q] /\ m \in Ins(q) \ {q} /\ bud.rem > 0
  /\ casq' = casq \cup {Change(q, Ins(q) \ {m})} /\ pend' = [pend EXCEPT ![q] = TRUE]
  /\ bud' = [bud EXCEPT !.rem = @ - 1]
  /\ UNCHANGED <<recs, up, inc, role, view, maybe, acks, held, grant, disk, sync, wf, gen, cli, bad>>

Open(q) ==
  /\ role[q] = "opening" /\ ~pend[q] /\ recs[view[q]].op
  /\ \A m \in Ins(q) \ {q} : acks[q][m] >= LastS(q) /\ prom[m] >= view[q]
  /\ role' = [role EXCEPT ![q] = "open"] /\ held' = [held EXCEPT ![q] = {}]
  /\ LET gone == {v \in AckedW : v > Val(q, wb[v])} IN
     IF susp[q]
     THEN /\ forgiven' = forgiven \cup gone /\ loss' = (loss \/ gone # {})
          /\ seen' = [b \in Blocks |-> Val(q, b)]
     ELSE UNCHANGED <<forgiven, loss, seen>>
  /\ susp' = [susp EXCEPT ![q] = FALSE] /\ base' = [base EXCEPT ![q] = <<>>]
  /\ UNCHANGED <<etcd, up, inc, view, maybe, pend, grant, acks, log, own, dur, prom, seal, sync, wf, gen, wr, wb, att, old, flushed, doomed, bad, bud>>

\* The unsafe alternative to R1: the new primary makes a longer in-sync member drop its suffix
\* (the index holds only the newest version, so the blocks are unknown until they are sent again).
Rollback(q, m) ==
  /\ ~NoRollback /\ role[q] = "opening" /\ m \in Ins(q) \ {q} /\ Accepts(m, view[q]) /\ LastS(m) > LastS(q)
  /\ log' = [log EXCEPT ![m] = Append(@, [e |-> view[q], s |-> LastS(q), b |-> Idx(@, log[m][Len(log[m])].b).b, v |-> 0, f |-> FALSE])]
  /\ prom' = [prom EXCEPT ![m] = view[q]] /\ Kept(m)
  /\ UNCHANGED <<etcd, procs, dur, seal, base, susp, sync, wf, gen, cli, bad, bud>>

--------------------------------------------------------------------------------
(* Delta sync *)

Part(p, t) == \* the last order common to p's history and t
  LET x == IF UseBase /\ base[t] # <<>> THEN [e |-> base[t][1], s |-> base[t][2]] ELSE LastX(log[t]) IN
  Min({x.s} \cup {recs[k].sa : k \in (x.e + 1)..view[p]})

SyncStart(p, t) ==
  /\ role[p] = "open" /\ ~sync.on /\ t \notin Eff(p) /\ AcceptsT(t, view[p]) /\ role[t] = "none"
  /\ bud.sync > 0 /\ Len(log[t]) < MaxLog /\ E = view[p]
  /\ LET S == Part(p, t)
         newer == {b \in Blocks : OrdOf(Idx(log[p], b))[2] > S}
         div   == {b \in Blocks : Dead(Idx(log[t], b), view[p])} IN
     /\ sync' = [p |-> p, t |-> t, todo |-> newer \cup div, msg |-> <<>>, on |-> TRUE]
     /\ base' = [base EXCEPT ![t] = <<(IF @ # <<>> THEN @[1] ELSE LastX(log[t]).e), S>>]
  \* a durable position record: the live stream starts behind p's present last order
  /\ log' = [log EXCEPT ![t] = Append(@, [e |-> view[p], s |-> LastS(p), b |-> 0, v |-> 0, f |-> FALSE])] /\ Kept(t)
  \* R6: the base is recorded only after everything up to it is durable on the target
  /\ dur' = [dur EXCEPT ![t] = IF FlushAdd THEN Len(log[t]) ELSE @]
  /\ prom' = [prom EXCEPT ![t] = view[p]]
  /\ acks' = [acks EXCEPT ![p][t] = LastS(p)]
  /\ gen' = [gen EXCEPT ![t] = Max({@, gen[p]})]
  /\ bud' = [bud EXCEPT !.sync = @ - 1]
  /\ UNCHANGED <<etcd, up, inc, role, view, maybe, pend, held, grant, seal, susp, wf, cli, bad>>

SyncRead(b) ==
  /\ sync.on /\ role[sync.p] = "open" /\ b \in sync.todo /\ sync.msg = <<>>
  /\ sync' = [sync EXCEPT !.todo = @ \ {b}, !.msg = <<Idx(log[sync.p], b)>>]
  /\ UNCHANGED <<etcd, procs, disk, wf, gen, cli, bad, bud>>

SyncApply ==
  /\ sync.on /\ sync.msg # <<>> /\ AcceptsT(sync.t, view[sync.p]) /\ Len(log[sync.t]) < MaxLog
  /\ LET x == sync.msg[1]
         y == Idx(log[sync.t], x.b)
         ok == IF CompareDead THEN (Dead(y, view[sync.p]) \/ Lower(OrdOf(y), OrdOf(x))) ELSE Lower(OrdOf(y), OrdOf(x)) IN
     log' = IF ok THEN [log EXCEPT ![sync.t] = Append(@, [x EXCEPT !.f = TRUE])] ELSE log
  /\ Kept(sync.t)
  /\ sync' = [sync EXCEPT !.msg = <<>>]
  /\ UNCHANGED <<etcd, procs, dur, prom, seal, base, susp, wf, gen, cli, bad, bud>>

\* All copied, live stream drained on every member: flush the target, then swap it in.
SyncDone ==
  /\ sync.on /\ sync.todo = {} /\ sync.msg = <<>>
  /\ LET p == sync.p t == sync.t IN
     /\ CanSwap(p) /\ ~pend[p] /\ E = view[p]
     /\ AcceptsT(t, view[p]) /\ acks[p][t] = LastS(p) /\ LastS(t) = LastS(p) /\ Comm(p) = LastS(p)
     /\ Fail(IF \E b \in Blocks : Val(p, b) # Val(t, b) THEN "delta sync finished and the target differs" ELSE bad)
     /\ casq' = casq \cup {Change(p, Ins(p) \cup {t})}
     /\ pend' = [pend EXCEPT ![p] = TRUE]
     /\ maybe' = [maybe EXCEPT ![p] = IF AddMaybe THEN @ \cup {t} ELSE @]
     /\ base' = [base EXCEPT ![t] = <<>>] /\ susp' = [susp EXCEPT ![t] = FALSE]
     /\ dur' = [dur EXCEPT ![t] = IF FlushAdd THEN Len(log[t]) ELSE @]
     /\ gen' = [gen EXCEPT ![t] = Max({@, gen[p]})]
     /\ sync' = IF AddMaybe THEN NoSync ELSE sync
  /\ UNCHANGED <<recs, up, inc, role, view, acks, held, grant, log, own, prom, seal, wf, cli, bud>>

--------------------------------------------------------------------------------
(* Faults *)

Down(d) ==
  /\ up' = [up EXCEPT ![d] = FALSE] /\ role' = [role EXCEPT ![d] = "none"]
  /\ held' = [held EXCEPT ![d] = {}] /\ pend' = [pend EXCEPT ![d] = FALSE]
  /\ maybe' = [maybe EXCEPT ![d] = {}]
  /\ acks' = [acks EXCEPT ![d] = [m \in D |-> 0]]
  /\ sync' = IF sync.on /\ d \in {sync.p, sync.t} THEN NoSync ELSE sync
  /\ old' = {x \in old : x[2] # d}

Crash(d) == \* kill -9: the page cache stays
  /\ up[d] /\ bud.crash > 0 /\ bud' = [bud EXCEPT !.crash = @ - 1] /\ Down(d)
  /\ \E n \in {own[d], Len(log[d])} : log' = [log EXCEPT ![d] = SubSeq(@, 1, n)] /\ own' = [own EXCEPT ![d] = n]
  /\ UNCHANGED <<etcd, inc, view, grant, dur, prom, seal, base, susp, wf, gen, wr, wb, att, flushed, seen, doomed, forgiven, loss, bad>>

Power(d) == \* what was not synced may be gone, from any point on
  /\ up[d] /\ bud.power > 0 /\ bud' = [bud EXCEPT !.power = @ - 1] /\ Down(d)
  /\ \E n \in {dur[d], Len(log[d])} : log' = [log EXCEPT ![d] = SubSeq(@, 1, n)] /\ own' = [own EXCEPT ![d] = n] /\ dur' = [dur EXCEPT ![d] = n]
  /\ susp' = [susp EXCEPT ![d] = TRUE] /\ view' = [view EXCEPT ![d] = 0]
  /\ UNCHANGED <<etcd, inc, grant, prom, seal, base, wf, gen, wr, wb, att, flushed, seen, doomed, forgiven, loss, bad>>

Restart(d) ==
  /\ ~up[d] /\ up' = [up EXCEPT ![d] = TRUE] /\ inc' = [inc EXCEPT ![d] = @ + 1]
  /\ view' = [view EXCEPT ![d] = 0]
  \* Without R9 the mark is only in memory: a second open under the same boot id looks clean.
  /\ susp' = susp
  /\ UNCHANGED <<etcd, role, maybe, pend, acks, held, grant, log, own, dur, prom, seal, base, sync, wf, gen, cli, bad, bud>>

ForgetMark(d) == \* a plain process restart of an unclean store, without R9
  /\ ~Sticky /\ up[d] /\ susp[d] /\ inc[d] < 4 /\ role[d] = "none" /\ susp' = [susp EXCEPT ![d] = FALSE] /\ inc' = [inc EXCEPT ![d] = @ + 1]
  /\ UNCHANGED <<etcd, up, role, view, maybe, pend, acks, held, grant, log, own, dur, prom, seal, base, sync, wf, gen, cli, bad, bud>>

--------------------------------------------------------------------------------
Healthy == \E p \in D : role[p] = "open" /\ view[p] = E /\ ~pend[p] /\ \A v \in W : wr[v] # 1 \/ GenOf(v) < att
Rest == (Healthy \/ E = MaxEpoch \/ \E d \in D : Len(log[d]) >= MaxLog) /\ UNCHANGED vars

Next ==
  \/ \E p \in D :
       \/ \E v \in W : Write(p, v) \/ Ack(p, v) \/ Buffered(p, v)
       \/ \E b \in Blocks, g \in 1..2 : Read(p, b, g)
       \/ Written(p) \/ Flush(p) \/ Raise(p) \/ StepDown(p)
       \/ \E e \in 1..E : Learn(p, e)
       \/ \E m \in D : Grant(p, m) \/ LeaseExpire(p, m) \/ (\E x \in grant[p] : GrantExpire(p, x))
       \/ \E m \in D : Replicate(p, m) \/ Remove(p, m) \/ OpenDrop(p, m) \/ Rollback(p, m) \/ SyncStart(p, m)
       \/ WfAsk(p) \/ Promote(p) \/ Activate(p) \/ Open(p) \/ Crash(p) \/ Power(p) \/ Restart(p) \/ ForgetMark(p)
  \/ \E x \in old : Unbuffer(x)
  \/ \E c \in casq : CasApply(c)   \* TLC names quantified disjuncts outside \E p as Next
  \/ \E b \in Blocks : SyncRead(b)
  \/ SyncApply \/ SyncDone \/ WfStart \/ WfCas \/ Fence \/ Rest

Spec == Init /\ [][Next]_vars
Sym  == Permutations(D \ {P0})

--------------------------------------------------------------------------------
NoBad == bad = "ok"
\* The meaning of inSync: every member holds every acknowledged write; an unclean one every flushed write.
InSyncHolds == \A d \in recs[E].ins : \A b \in Blocks :
   /\ ~susp[d] => Val(d, b) >= Max(Owed(b))
   /\ Val(d, b) >= Max(OwedF(b))
\* An order names one write.
UniqueOrder == \A d1, d2 \in D : \A i \in 1..Len(log[d1]), j \in 1..Len(log[d2]) :
   (log[d1][i].b # 0 /\ log[d2][j].b # 0 /\ log[d1][i].s > 0 /\ log[d1][i].e = log[d2][j].e /\ log[d1][i].s = log[d2][j].s)
     => log[d1][i].v = log[d2][j].v
\* I4
NotEmpty == recs[E].ins # {} /\ recs[E].prim \in recs[E].ins
\* I6: members that have confirmed everything hold what the open primary holds.
Identical == \A p \in D : (role[p] = "open" /\ view[p] = E /\ recs[E].prim = p) =>
   \A m \in Ins(p) : (m # p /\ up[m] /\ ~susp[m] /\ acks[p][m] = LastS(p)) => \A b \in Blocks : Val(m, b) = Val(p, b)
\* No two primaries can acknowledge.
OneWriter == \A p, q \in D : (p # q /\ role[p] = "open" /\ role[q] = "open") =>
   ~(\A m \in Eff(p) : Accepts(m, view[p])) \/ ~(\A m \in Eff(q) : Accepts(m, view[q]))
=============================================================================
