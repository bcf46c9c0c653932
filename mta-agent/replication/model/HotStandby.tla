----------------------------- MODULE HotStandby -----------------------------
(***************************************************************************)
(* One shard: agents with a disk each, the Lease behind an API server, an  *)
(* admin who may force a promotion.  ../README.md gives the rules in       *)
(* words; rule numbers (R1 ...) below are its numbers.                     *)
(*                                                                         *)
(* Asynchrony: every step of every agent may be put off for ever, so a     *)
(* paused process, a partition, a lost or late message and an API outage   *)
(* need no action of their own.  A Lease write travels: it is sent, and is *)
(* applied or lost at any later time; its answer is never relied on, the   *)
(* writer learns the outcome by reading.  Reads may be stale.              *)
(*                                                                         *)
(* Time is abstract here: PromiseEnds(s) may happen only when every right  *)
(* that rests on a promise of s has ended.  GrantTimers.tla shows that the *)
(* timers give exactly that, under drift, pauses and late messages.        *)
(***************************************************************************)
EXTENDS Naturals, Sequences, FiniteSets, TLC

CONSTANTS Agents,        \* model values
          First,         \* the first primary
          InitialSet,    \* agents in sync at the start, First among them
          Messages,      \* what clients may submit
          None,
          Strict,        \* TRUE: never acknowledge alone
          MaxWrites,     \* Lease writes sent
          MaxCrashes, MaxLosses, MaxForces, MaxRenounces, MaxLeaves,
          MaxBreaks,     \* grants lost between two healthy agents (liveness only)
          Delivering,    \* FALSE: leave deliveries out
          Bug            \* "none", or the name of a mutation

VARIABLES lease,         \* all versions of the Lease; the last one counts
          writes,        \* Lease writes on their way
          p,             \* per agent: the process, lost at a crash
          d,             \* per agent: the disk
          renounced,     \* <<agent, epoch>>: switchover messages, delivered at any time
          leaves,        \* <<copy, primary, epoch>>: "I leave", heard at any time or never
          acked,         \* message -> how it was acknowledged (ghost)
          delivered,     \* <<message, epoch>> (ghost)
          used           \* budgets spent

vars == <<lease, writes, p, d, renounced, leaves, acked, delivered, used>>

Max(S) == CHOOSE x \in S : \A y \in S : x >= y
Min(a, b) == IF a < b THEN a ELSE b
Unacked == [how |-> "no", epoch |-> 0, copies |-> {}]

-----------------------------------------------------------------------------
(* The log. An entry stores a message ("M") or marks it finished ("D").    *)
(* oe and os, the epoch and position at which the message was first        *)
(* accepted, are its queue id.                                             *)

Stored(l)   == {l[i].m : i \in {j \in 1..Len(l) : l[j].k = "M"}}
Finished(l) == {l[i].m : i \in {j \in 1..Len(l) : l[j].k = "D"}}
Live(l)     == Stored(l) \ Finished(l)
Durable(a)  == SubSeq(d[a].log, 1, d[a].synced)

\* The highest position of reign e that this log contains or has taken back.
Have(l, e) == Max({0} \cup {i \in 1..Len(l) : l[i].e = e}
                      \cup {l[i].os : i \in {j \in 1..Len(l) : l[j].oe = e}})

CommonPrefix(l1, l2) ==
  Max({0} \cup {n \in 1..Min(Len(l1), Len(l2)) : \A i \in 1..n : l1[i] = l2[i]})

IsPrefix(l1, l2) == Len(l1) <= Len(l2) /\ \A i \in 1..Len(l1) : l1[i] = l2[i]

-----------------------------------------------------------------------------
Copy(a)  == <<a, d[a].copy>>
Exists(c) == d[c[1]].copy = c[2]
Known(a) == lease[p[a].known]
Current  == lease[Len(lease)]

\* R3: the set an agent must satisfy: the Lease as it knows it, and every set
\* that a write of its own, not yet settled, may have put there.
Effective(a) ==
  CASE p[a].doubt = {}         -> Known(a).set
    [] Bug = "DoubtIgnored"    -> Known(a).set
    [] Bug = "ShrinkAfter"     -> CHOOSE s \in p[a].doubt : \A t \in p[a].doubt : Cardinality(s) <= Cardinality(t)
    [] OTHER                   -> Known(a).set \cup UNION p[a].doubt

\* One that has said that it leaves counts like any other as long as the record has it.
Others(a) == Effective(a) \ ({Copy(a)} \cup IF Bug = "LeavingNotNeeded" THEN p[a].leaving ELSE {})

IsPrimary(a) == p[a].up /\ p[a].role = "primary"

\* R1: the right to act.
MayAct(a) ==
  /\ IsPrimary(a)
  /\ IF Bug = "AnyGrant"
     THEN Others(a) = {} \/ Others(a) \cap p[a].rights # {}
     ELSE Others(a) \subseteq p[a].rights

\* R2: on our disk and confirmed by everyone in the effective set.
Committed(a, i) ==
  /\ d[a].synced >= i
  /\ \/ Bug = "AckBeforeStandby"
     \/ \A c \in Others(a) : p[a].conf[c[1]].c = c[2] /\ p[a].conf[c[1]].n >= i

InSession(s, a) == /\ p[s].up /\ IsPrimary(a)
                   /\ p[s].follows = a /\ p[s].epoch = p[a].epoch

NoConf == [x \in Agents |-> [c |-> 0, n |-> 0]]

FreshProcess(i) ==
  [up |-> TRUE, inc |-> i, role |-> "standby", epoch |-> 0, follows |-> None,
   known |-> 0, doubt |-> {}, rights |-> {}, bound |-> Bug # "GrantForgotten",
   conf |-> NoConf, heard |-> 0, leaving |-> {}]

Down(a) == [FreshProcess(p[a].inc) EXCEPT !.up = FALSE]

Init ==
  /\ lease = <<[holder |-> First, inc |-> 1, epoch |-> 1, forced |-> 0,
                set |-> {<<a, 1>> : a \in InitialSet}]>>
  /\ writes = {}
  /\ p = [a \in Agents |-> IF a = First
            THEN [FreshProcess(1) EXCEPT !.role = "primary", !.epoch = 1, !.known = 1, !.bound = FALSE]
            ELSE [FreshProcess(1) EXCEPT !.bound = TRUE]]
  /\ d = [a \in Agents |-> [copy |-> 1, seen |-> 1, log |-> <<>>, synced |-> 0, aside |-> {}]]
  /\ renounced = {}
  /\ leaves = {}
  /\ acked = [m \in Messages |-> Unacked]
  /\ delivered = {}
  /\ used = [writes |-> 0, crashes |-> 0, losses |-> 0, forces |-> 0, renounces |-> 0, leaves |-> 0, breaks |-> 0]

\* Trouble between healthy agents is free where safety is checked (MaxBreaks = 9),
\* and counted where liveness is.
Break(n) == IF MaxBreaks = 9 THEN 0 ELSE n
Spend(w, b) == /\ used.writes + w <= MaxWrites /\ used.breaks + b <= MaxBreaks
               /\ used' = [used EXCEPT !.writes = @ + w, !.breaks = @ + b]

-----------------------------------------------------------------------------
(* The API server.                                                         *)

Send(a, val, b) ==
  LET w == [base |-> p[a].known, val |-> val]
  IN  /\ w \notin writes
      /\ writes' = IF w.base = Len(lease) \/ Bug = "NoCas" THEN writes \cup {w} ELSE writes
      /\ Spend(IF w.base = Len(lease) \/ Bug = "NoCas" THEN 1 ELSE 0, b)  \* the others cannot win

\* A write is conditional on the version it was computed from.  So one that is
\* applied kills all others on the same version, and those drop out.  A write
\* that is lost, or lost and sent again, is one that stays here for long.
Apply(w) ==
  /\ w \in writes
  /\ lease' = Append(lease, w.val)
  /\ writes' = IF Bug = "NoCas" THEN writes \ {w} ELSE {}
  /\ UNCHANGED <<p, d, renounced, leaves, acked, delivered, used>>

\* It waits as if it had just given a promise, so that the new primary can reach it.
Demoted(a, v) ==
  [p[a] EXCEPT !.known = v, !.role = "standby", !.follows = None, !.doubt = {},
               !.rights = {}, !.conf = NoConf, !.heard = 0, !.bound = TRUE, !.leaving = {}]

\* Any version newer than the known one, not only the newest.
\* A claim has won only if the record shows the epoch it wrote: the process may
\* also find itself named by an older write of its own, of a reign it has renounced.
Read(a, v) ==
  /\ p[a].up /\ v \in (p[a].known + 1)..Len(lease)
  /\ LET mine == /\ lease[v].holder = a /\ lease[v].inc = p[a].inc
                 /\ \/ p[a].role # "claiming" \/ Bug \in {"WonByName", "EpochReused"}
                    \/ lease[v].epoch = Known(a).epoch + 1
     IN
     CASE p[a].role = "standby" ->
            p' = [p EXCEPT ![a].known = v] /\ UNCHANGED d
       [] p[a].role = "primary" /\ mine ->
            p' = [p EXCEPT ![a].known = v, ![a].doubt = {}] /\ UNCHANGED d
       [] p[a].role = "claiming" /\ mine ->
            /\ p' = [p EXCEPT ![a] = [Demoted(a, v) EXCEPT !.role = "primary", !.epoch = lease[v].epoch,
                                                           !.bound = Bug = "GrantWhileClaiming" /\ p[a].bound]]
            /\ d' = [d EXCEPT ![a].seen = lease[v].epoch]
       [] OTHER -> p' = [p EXCEPT ![a] = Demoted(a, v)] /\ UNCHANGED d
  /\ UNCHANGED <<lease, writes, renounced, leaves, acked, delivered, used>>

-----------------------------------------------------------------------------
(* Becoming primary.                                                       *)

InSet(a, set) == IF Bug = "SetByName" THEN \E c \in set : c[1] = a
                 ELSE Bug = "PromoteNotInSync" \/ Copy(a) \in set

\* R5, restart: an earlier incarnation of this agent holds the Lease, and this disk
\* has followed nobody since.  Whatever it promised before, it promised to reigns that
\* ended before its own began, so it need not wait.
HolderAgain(a) ==
  /\ Known(a).holder = a /\ Known(a).inc # p[a].inc
  /\ d[a].seen = Known(a).epoch \/ Bug = "RestartUnchecked"

\* R5: only a copy in the set, only after every promise given has ended.
\* A claim that was lost is sent again on the same version: the same write.
Claim(a) ==
  /\ p[a].up /\ p[a].role = "standby" /\ p[a].known > 0
  /\ ~p[a].bound \/ HolderAgain(a) \/ Bug = "PromiseNotAwaited"
  /\ InSet(a, Known(a).set)
  /\ d[a].seen <= Known(a).epoch
  /\ LET k == Known(a)
         gone == IF p[a].heard = k.epoch THEN {} ELSE {c \in k.set : c[1] = k.holder}
     IN  Send(a, [holder |-> a, inc |-> p[a].inc,
                  epoch |-> IF Bug = "EpochReused" THEN k.epoch ELSE k.epoch + 1,
                  forced |-> k.forced, set |-> (k.set \ gone) \cup {Copy(a)}], 0)
  /\ p' = IF Bug = "GrantWhileClaiming" THEN [p EXCEPT ![a].role = "claiming"]
          ELSE [p EXCEPT ![a].role = "claiming", ![a].follows = None]
  /\ UNCHANGED <<lease, d, renounced, leaves, acked, delivered>>

\* R9: the admin states that the old primary is down, about this Lease version,
\* and the statement is true.  No copy in the set is left for an ordinary claim.
ForceClaim(a) ==
  /\ used.forces < MaxForces
  /\ p[a].up /\ p[a].role = "standby" /\ ~p[a].bound
  /\ p[a].known = Len(lease) /\ ~InSet(a, Current.set)
  /\ \A b \in Agents \ {a} : ~p[b].up \/ p[b].role = "standby"
  /\ LET w == [base |-> p[a].known,
               val |-> [holder |-> a, inc |-> p[a].inc, epoch |-> Current.epoch + 1,
                        forced |-> Current.epoch + 1, set |-> {Copy(a)}]]
     IN  writes' = writes \cup {w}
  /\ used.writes < MaxWrites /\ used' = [used EXCEPT !.writes = @ + 1, !.forces = @ + 1]
  /\ p' = [p EXCEPT ![a].role = "claiming", ![a].follows = None]
  /\ UNCHANGED <<lease, d, renounced, leaves, acked, delivered>>

\* Mutation: a restarted container of the same Pod takes itself for the holder.
Resume(a) ==
  /\ Bug = "IdentityWithoutIncarnation"
  /\ p[a].up /\ p[a].role = "standby" /\ p[a].known > 0 /\ Known(a).holder = a
  /\ d[a].seen <= Known(a).epoch
  /\ p' = [p EXCEPT ![a].role = "primary", ![a].epoch = Known(a).epoch, ![a].follows = None]
  /\ UNCHANGED <<lease, writes, d, renounced, leaves, acked, delivered, used>>

\* Switchover: the primary gives up its reign for good, then says so.
Renounce(a) ==
  /\ used.renounces < MaxRenounces /\ IsPrimary(a)
  /\ p' = [p EXCEPT ![a] = Demoted(a, p[a].known)]
  /\ renounced' = renounced \cup {<<a, p[a].epoch>>}
  /\ used' = [used EXCEPT !.renounces = @ + 1]
  /\ UNCHANGED <<lease, writes, d, leaves, acked, delivered>>

\* Mutation "RenounceFirst": says so, and goes on acting for a while.
RenounceEarly(a) ==
  /\ Bug = "RenounceFirst"
  /\ used.renounces < MaxRenounces /\ IsPrimary(a)
  /\ renounced' = renounced \cup {<<a, p[a].epoch>>}
  /\ used' = [used EXCEPT !.renounces = @ + 1]
  /\ UNCHANGED <<lease, writes, p, d, leaves, acked, delivered>>

\* R6: believed only for the highest epoch this agent knows, from its disk or from
\* the record.
HearRenounce(s, r) ==
  /\ r \in renounced /\ p[s].up /\ p[s].role = "standby"
  /\ IF Bug = "RenounceOfAnyEpoch" THEN TRUE
     ELSE r[2] = d[s].seen /\ (IF p[s].known = 0 THEN TRUE ELSE Known(s).epoch <= r[2])
  /\ p[s].heard # r[2]
  /\ p' = [p EXCEPT ![s].bound = FALSE, ![s].heard = r[2]]
  /\ UNCHANGED <<lease, writes, d, renounced, leaves, acked, delivered, used>>

-----------------------------------------------------------------------------
(* Promises.                                                               *)

\* R4: a follower answers a beacon with a promise not to claim for a while;
\* never while a claim of its own is unsettled.
Grant(a, s) ==
  /\ InSession(s, a)
  /\ p[s].role = "standby" \/ Bug = "GrantWhileClaiming"
  /\ ~p[s].bound \/ Copy(s) \notin p[a].rights \/ Copy(s) \in p[a].leaving
  /\ p' = [p EXCEPT ![s].bound = TRUE, ![s].heard = 0,
                    ![a].rights = @ \cup {Copy(s)}, ![a].leaving = @ \ {Copy(s)}]
  /\ UNCHANGED <<lease, writes, d, renounced, leaves, acked, delivered, used>>

\* The primary's clock ran out: no answer in time.
RightEnds(a, c) ==
  /\ c \in p[a].rights
  /\ p' = [p EXCEPT ![a].rights = @ \ {c}]
  /\ Spend(0, Break(IF InSession(c[1], a) /\ Copy(c[1]) = c THEN 1 ELSE 0))
  /\ UNCHANGED <<lease, writes, d, renounced, leaves, acked, delivered>>

\* Another agent holds the record and acts, or has won and only has to read it: then
\* a promise that ends for want of a beacon is trouble (liveness only).
HolderIsWell(s) ==
  LET h == Current.holder
  IN  /\ h # s /\ p[h].up /\ p[h].inc = Current.inc
      /\ \/ p[h].role = "primary"
         \/ p[h].role = "claiming" /\ Known(h).epoch < Current.epoch

PromiseEnds(s) ==
  /\ p[s].up /\ p[s].bound
  /\ \A a \in Agents : \A c \in p[a].rights : c[1] # s
  /\ p' = [p EXCEPT ![s].bound = FALSE]
  /\ Spend(0, Break(IF HolderIsWell(s) THEN 1 ELSE 0))
  /\ UNCHANGED <<lease, writes, d, renounced, leaves, acked, delivered>>

-----------------------------------------------------------------------------
(* The set, changed by its holder.                                         *)

SetWrite(a, set, b) ==
  /\ set \notin p[a].doubt
  /\ Send(a, [Known(a) EXCEPT !.set = set], b)
  /\ p' = [p EXCEPT ![a].doubt = @ \cup {set}]

\* Removing needs no right to act; the other side may be dead, or only slow, or
\* has said that it leaves.
IsGone(a, c) == ~(Exists(c) /\ p[c[1]].up) \/ c \in p[a].leaving
Remove(a, c) ==
  /\ IsPrimary(a) /\ c \in Known(a).set /\ c # Copy(a)
  /\ SetWrite(a, Known(a).set \ {c}, Break(IF IsGone(a, c) THEN 0 ELSE 1))
  /\ UNCHANGED <<lease, d, renounced, leaves, acked, delivered>>

\* R7: only a copy that has confirmed the whole log; from this step on it
\* counts in Effective, so nothing is acknowledged without it any more.
Add(a, s) ==
  /\ InSession(s, a) /\ p[s].role = "standby" /\ Copy(s) \notin Known(a).set \cup p[a].leaving
  /\ \/ Bug = "AddBeforeComplete"
     \/ p[a].conf[s] = [c |-> d[s].copy, n |-> Len(d[a].log)]
  /\ SetWrite(a, Known(a).set \cup {Copy(s)}, 0)
  /\ UNCHANGED <<lease, d, renounced, leaves, acked, delivered>>

-----------------------------------------------------------------------------
(* Leaving.                                                                *)

\* R7: a standby says that it leaves and ends its session; its process ends with
\* it, or goes on (its disk is full, say), may follow again, and claims like any
\* other once its promise has ended.  What it promised stays promised.
Leave(s, a, ends) ==
  /\ used.leaves < MaxLeaves /\ InSession(s, a) /\ p[s].role = "standby"
  /\ leaves' = leaves \cup {<<Copy(s), a, p[a].epoch>>}
  /\ p' = [p EXCEPT ![s] = IF ends THEN Down(s)
                            ELSE [@ EXCEPT !.follows = None,
                                           !.bound = @ /\ Bug # "LeavingFreesThePromise"]]
  /\ d' = IF ends THEN [d EXCEPT ![s].log = Durable(s)] ELSE d
  /\ used' = [used EXCEPT !.leaves = @ + 1]
  /\ UNCHANGED <<lease, writes, renounced, acked, delivered>>

\* The primary need not find out by waiting: it may remove that copy at once, and
\* does without it when the record says so, not before.
HearLeaving(a, l) ==
  /\ l \in leaves /\ IsPrimary(a) /\ l[2] = a /\ l[3] = p[a].epoch
  /\ p' = [p EXCEPT ![a].leaving = @ \cup {l[1]}]
  /\ leaves' = leaves \ {l}
  /\ UNCHANGED <<lease, writes, d, renounced, acked, delivered, used>>

-----------------------------------------------------------------------------
(* Replication.                                                            *)

\* R8: a standby takes the primary's log for its own.  What goes beyond it was
\* never acknowledged, unless a promotion was forced since it was accepted:
\* then it is set aside, to be handed over.
Follow(s, a) ==
  /\ s # a /\ p[s].up /\ IsPrimary(a) /\ ~InSession(s, a)
  /\ p[s].role = "standby" \/ (Bug = "GrantWhileClaiming" /\ p[s].role = "claiming")
  /\ p[a].epoch >= d[s].seen \/ Bug = "OldEpochAccepted"
  /\ LET l  == d[s].log
         n  == IF Bug = "TailKept" THEN Len(l) ELSE CommonPrefix(l, d[a].log)
         go == {i \in (n + 1)..Len(l) :
                  /\ l[i].k = "M" /\ l[i].m \in Live(l)
                  /\ (IF Bug = "TailByItsEpoch" THEN l[i].e ELSE l[i].oe) < Known(a).forced
                  /\ Bug # "TailDroppedAlways"}
     IN  d' = [d EXCEPT ![s].log = SubSeq(l, 1, n), ![s].synced = Min(@, n),
                        ![s].seen = Max({@, p[a].epoch}),
                        ![s].aside = @ \cup {[oe |-> l[i].oe, os |-> l[i].os, m |-> l[i].m] : i \in go}]
  /\ p' = [p EXCEPT ![s].follows = a, ![s].epoch = p[a].epoch, ![s].heard = 0,
                    ![s].known = IF p[s].role = "standby" THEN Max({@, p[a].known}) ELSE @,
                    ![a].conf[s] = [c |-> d[s].copy, n |-> 0]]
  \* Nothing that comes from a session before this one is heard.
  /\ leaves' = {l \in leaves : l[1][1] # s \/ l[2] # a}
  /\ UNCHANGED <<lease, writes, renounced, acked, delivered, used>>

Ship(a, s) ==
  /\ InSession(s, a)
  /\ Len(d[s].log) < Len(d[a].log)
  /\ d' = [d EXCEPT ![s].log = Append(@, d[a].log[Len(@) + 1])]
  /\ UNCHANGED <<lease, writes, p, renounced, leaves, acked, delivered, used>>

\* fsync.  What was set aside is let go when our own durable log contains it.
Sync(a) ==
  /\ p[a].up /\ d[a].synced < Len(d[a].log)
  /\ d' = [d EXCEPT ![a].synced = Len(d[a].log),
                    ![a].aside = {x \in @ : x.os > Have(d[a].log, x.oe)}]
  /\ UNCHANGED <<lease, writes, p, renounced, leaves, acked, delivered, used>>

Confirm(a, s) ==
  /\ InSession(s, a)
  /\ LET c == [c |-> d[s].copy, n |-> IF Bug = "ConfirmBeforeFsync" THEN Len(d[s].log) ELSE d[s].synced]
     IN  /\ p[a].conf[s] # c
         /\ p' = [p EXCEPT ![a].conf[s] = c]
  /\ UNCHANGED <<lease, writes, d, renounced, leaves, acked, delivered, used>>

\* Hand-over: the primary takes the lowest message that s has set aside of a
\* reign and that its own log never had.  s may be the primary itself.
TakeBack(a, s) ==
  /\ IsPrimary(a) /\ (s = a \/ InSession(s, a))
  /\ \E x \in d[s].aside :
       /\ IF Bug = "TakenTwice" THEN x.m \notin Live(d[a].log)
          ELSE x.os > Have(d[a].log, x.oe)
       /\ \A y \in d[s].aside : y.oe = x.oe /\ y.os > Have(d[a].log, y.oe) => y.os >= x.os
       /\ d' = [d EXCEPT ![a].log = Append(@, [e |-> p[a].epoch, k |-> "M", m |-> x.m, oe |-> x.oe, os |-> x.os]),
                         ![s].aside = IF Bug = "AsideDroppedEarly" /\ s # a THEN @ \ {x} ELSE @]
  /\ UNCHANGED <<lease, writes, p, renounced, leaves, acked, delivered, used>>

-----------------------------------------------------------------------------
(* Mail.                                                                   *)

\* Accepting needs no right to act (closing the listener is politeness);
\* the acknowledgement needs the effective set.
Submit(a, m) ==
  /\ IsPrimary(a)
  /\ acked[m].how = "no" /\ \A b \in Agents : m \notin Stored(d[b].log)
  /\ \A b \in Agents : \A x \in d[b].aside : x.m # m
  /\ d' = [d EXCEPT ![a].log = Append(@, [e |-> p[a].epoch, k |-> "M", m |-> m,
                                          oe |-> p[a].epoch, os |-> Len(@) + 1])]
  /\ UNCHANGED <<lease, writes, p, renounced, leaves, acked, delivered, used>>

Ack(a, m) ==
  /\ IsPrimary(a) /\ acked[m].how = "no"
  /\ Strict => Others(a) # {}
  /\ \E i \in 1..Len(d[a].log) :
       /\ d[a].log[i].k = "M" /\ d[a].log[i].m = m
       /\ d[a].log[i].e = p[a].epoch /\ d[a].log[i].oe = p[a].epoch
       /\ Committed(a, i)
  /\ acked' = [acked EXCEPT ![m] = [how |-> IF Others(a) = {} THEN "alone" ELSE "in sync",
                                    epoch |-> p[a].epoch, copies |-> Effective(a)]]
  /\ UNCHANGED <<lease, writes, p, d, renounced, leaves, delivered, used>>

\* Only what is committed is delivered. The mark is shipped behind.
Deliver(a, m) ==
  /\ Delivering /\ MayAct(a)
  /\ IF Bug = "TakenTwice"
     THEN \E i \in 1..Len(d[a].log) : d[a].log[i].m = m /\ d[a].log[i].k = "M"
                                      /\ \A j \in i..Len(d[a].log) : ~(d[a].log[j].m = m /\ d[a].log[j].k = "D")
     ELSE m \in Live(d[a].log)
  /\ \E i \in 1..Len(d[a].log) : d[a].log[i].m = m /\ d[a].log[i].k = "M" /\ Committed(a, i)
  /\ d' = [d EXCEPT ![a].log = Append(@, [e |-> p[a].epoch, k |-> "D", m |-> m,
                                          oe |-> p[a].epoch, os |-> Len(@) + 1])]
  /\ delivered' = delivered \cup {<<m, p[a].epoch>>}
  /\ UNCHANGED <<lease, writes, p, renounced, leaves, acked, used>>

-----------------------------------------------------------------------------
(* Faults.                                                                 *)

Crash(a) ==
  /\ p[a].up /\ used.crashes < MaxCrashes
  /\ p' = [p EXCEPT ![a] = Down(a)]
  /\ d' = [d EXCEPT ![a].log = Durable(a)]
  /\ used' = [used EXCEPT !.crashes = @ + 1]
  /\ UNCHANGED <<lease, writes, renounced, leaves, acked, delivered>>

LoseDisk(a) ==
  /\ used.losses < MaxLosses
  /\ p' = [p EXCEPT ![a] = Down(a)]
  /\ d' = [d EXCEPT ![a] = [copy |-> @.copy + 1, seen |-> 0, log |-> <<>>, synced |-> 0, aside |-> {}]]
  /\ used' = [used EXCEPT !.losses = @ + 1]
  /\ UNCHANGED <<lease, writes, renounced, leaves, acked, delivered>>

\* R4: after a start it waits as if it had just given a promise.
Restart(a) ==
  /\ ~p[a].up
  /\ p' = [p EXCEPT ![a] = FreshProcess(@.inc + 1)]
  /\ UNCHANGED <<lease, writes, d, renounced, leaves, acked, delivered, used>>

-----------------------------------------------------------------------------
Next ==
  \/ \E w \in writes : Apply(w)
  \/ \E a \in Agents :
       \/ \E v \in 1..Len(lease) : Read(a, v)
       \/ Claim(a) \/ ForceClaim(a) \/ Resume(a)
       \/ Renounce(a) \/ RenounceEarly(a)
       \/ \E r \in renounced : HearRenounce(a, r)
       \/ \E l \in leaves : HearLeaving(a, l)
       \/ PromiseEnds(a) \/ Sync(a) \/ Crash(a) \/ LoseDisk(a) \/ Restart(a)
       \/ \E c \in p[a].rights : RightEnds(a, c)
       \/ p[a].known > 0 /\ \E c \in Known(a).set : Remove(a, c)
       \/ \E s \in Agents : TakeBack(a, s)
       \/ \E s \in Agents \ {a} : \/ Grant(a, s) \/ Add(a, s) \/ Follow(s, a) \/ Ship(a, s) \/ Confirm(a, s)
                                    \/ \E ends \in BOOLEAN : Leave(s, a, ends)
       \/ \E m \in Messages : Submit(a, m) \/ Ack(a, m) \/ Deliver(a, m)

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* S1: never two agents with a right to act.                               *)
OneSender == \A a, b \in Agents : MayAct(a) /\ MayAct(b) => a = b

(* S2: what was acknowledged is in the durable log of every copy that may  *)
(* be promoted next without force.                                         *)
InTheNextQueue ==
  \A m \in Messages : acked[m].how # "no" /\ acked[m].epoch >= Current.forced =>
    \A c \in Current.set : Exists(c) => m \in Stored(Durable(c[1]))

(* S2, forced promotions included: as long as one of the disks that had it *)
(* when it was acknowledged exists, it is on a disk, or was delivered.     *)
NothingLost ==
  \A m \in Messages : (\E c \in acked[m].copies : Exists(c)) =>
    \/ \E e \in 0..MaxWrites + 1 : <<m, e>> \in delivered
    \/ \E a \in Agents : m \in Stored(Durable(a)) \/ \E x \in d[a].aside : x.m = m

(* S2: Strict never acknowledges alone.                                    *)
NeverAlone == Strict => \A m \in Messages : acked[m].how # "alone"

(* S2, S4: once in a queue, whatever was handed over and how often.        *)
OnceInTheQueue ==
  \A a \in Agents : \A i, j \in 1..Len(d[a].log) :
    d[a].log[i].k = d[a].log[j].k /\ d[a].log[i].m = d[a].log[j].m => i = j

(* S3: an epoch and a position name one entry and all that came before it. *)
LogsAgree ==
  \A a, b \in Agents : \A i \in 1..Min(Len(d[a].log), Len(d[b].log)) :
    d[a].log[i].e = d[b].log[i].e => \A j \in 1..i : d[a].log[j] = d[b].log[j]

(* S3: a standby in session holds a part of its primary's log, no more.    *)
FollowersFollow ==
  \A a, s \in Agents : s # a /\ InSession(s, a) => IsPrefix(d[s].log, d[a].log)

(* S3: one primary per epoch, and epochs rise with the versions.           *)
OneReign ==
  \A v, w \in 1..Len(lease) : v < w =>
    IF lease[v].epoch = lease[w].epoch
    THEN lease[v].holder = lease[w].holder /\ lease[v].inc = lease[w].inc
    ELSE lease[v].epoch < lease[w].epoch

-----------------------------------------------------------------------------
(* L1, under fair agents, network and API server, once the faults are     *)
(* spent.                                                                  *)
Fairness ==
  /\ \A a \in Agents :
       /\ WF_vars(Read(a, Len(lease))) /\ WF_vars(Claim(a)) /\ WF_vars(PromiseEnds(a))
       /\ WF_vars(Sync(a)) /\ WF_vars(Restart(a))
       /\ WF_vars(\E c \in p[a].rights : ~InSession(c[1], a) /\ RightEnds(a, c))
       /\ WF_vars(IsPrimary(a) /\ p[a].doubt = {} /\ \E c \in Known(a).set :
                    IsGone(a, c) /\ Remove(a, c))
       /\ WF_vars(\E s \in Agents : TakeBack(a, s))
       /\ \A s \in Agents \ {a} :
            /\ WF_vars(Grant(a, s)) /\ WF_vars(Follow(s, a)) /\ WF_vars(Ship(a, s)) /\ WF_vars(Confirm(a, s))
            /\ SF_vars(Add(a, s))
       /\ \A m \in Messages : WF_vars(Deliver(a, m)) /\ WF_vars(Ack(a, m))
  /\ WF_vars(\E w \in writes : Apply(w))

FairSpec == Spec /\ Fairness

SomeoneMayAct == \E a \in Agents : MayAct(a)
Hopeless      == \A c \in Current.set : ~Exists(c)
Recovers      == <>[](SomeoneMayAct \/ Hopeless)
MailGoes      == \A m \in Messages : (acked[m].how # "no") ~> (Hopeless \/ \E e \in 0..MaxWrites + 1 : <<m, e>> \in delivered)
=============================================================================
