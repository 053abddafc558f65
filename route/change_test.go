package route

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChanges(t *testing.T) {
	for name, test := range map[string]struct {
		rounds  string
		changes []string
		path    string
	}{
		"the first path is no change": {
			rounds: "a b c D", path: "a b c D",
		},
		"what was silent until now is learned": {
			rounds: "a * c D \n a b * D \n a b c D", path: "a b c D",
		},
		"what is silent from now on stays": {
			rounds: "a b c D \n a * c D #59", path: "a b c D",
		},
		"what is silent for an hour is unknown": {
			rounds: "a b c D #20 \n a * c D #60", path: "a * c D",
		},
		"the same router after an hour of silence is no change": {
			rounds: "a b c D #20 \n a * c D #100 \n a b c D #5", path: "a b c D",
		},
		"what is silent for an hour, with silence behind it, stays": {
			rounds: "a b c D \n a * * * #100", path: "a b c ...",
		},
		"a destination and a loop that are silent for long stay": {
			rounds: "a b c b c b c \n a * c b c b c #100", path: "a b c >2",
		},
		"rounds without answers say nothing but that the destination is silent": {
			rounds: "a b c D \n * * * * #3", path: "a b c ...",
		},
		"a destination that is silent once is reached": {
			rounds: "a b c D \n a b c *", path: "a b c D",
		},
		"a destination that is silent twice and comes back is no change": {
			rounds: "a b c D \n a b c * #2 \n a b c D", path: "a b c D",
		},
		"probes that were not sent say nothing": {
			rounds: "a b c D \n . . . . #5", path: "a b c D",
		},
		"a destination that was not asked is not silent": {
			rounds: "a b c D \n a b c . #5", path: "a b c D",
		},
		"a path without any answer": {
			rounds: "* * * * #3", path: "...",
		},
		"a path that shows itself slowly": {
			rounds: "* * * * * \n a * * * * \n * * c * * \n * b * * * \n * * * * D", path: "a b c * D",
		},
		"one round of another path is no change": {
			rounds: "a b c D \n a x c D \n a b c D \n a x c D \n a b c D", path: "a b c D",
		},
		"another router, seen twice": {
			rounds: "a b c D #3 \n a x c D #2", path: "a x c D",
			changes: []string{"5: new_router at 2: a b c D -> a x c D"},
		},
		"two other routers in turn are no change in the first rounds": {
			rounds: "a b c D #20 \n a x c D \n a y c D \n a x c D \n a b c D", path: "a b c D",
		},
		"two other routers in turn are one change": {
			rounds: "a b c D #20 \n" + strings.Repeat("a x c D \n a y c D \n", 300), path: "a y c D",
			changes: []string{"24: new_router at 2: a b c D -> a y c D"},
		},
		"two longer ways in turn are one change": {
			rounds: "a b D #20 \n" + strings.Repeat("a b x D \n a b y D \n", 300), path: "a b y D",
			changes: []string{"24: longer at 3: a b D -> a b y D"},
		},
		"four other routers in turn that the old one interrupts are no change": {
			rounds: "a b c D #20 \n a x c D \n a y c D \n a b c D \n a x c D \n a y c D \n a b c D", path: "a b c D",
		},
		"another router, seen twice with silence in between": {
			rounds: "a b c D \n a x c D \n a * c D #20 \n * * * * \n . . . . \n a x c D", path: "a x c D",
			changes: []string{"25: new_router at 2: a b c D -> a x c D"},
		},
		"an old router refutes a new one": {
			rounds: "a b c D \n a x c D \n a b c D \n a x c D", path: "a b c D",
		},
		"other routers of which each round shows another one": {
			rounds: "a b c d D \n a x * * D \n a * y * D", path: "a x y * D",
			changes: []string{"3: new_router at 2: a b c d D -> a x y * D"},
		},
		"a longer path": {
			rounds: "a b D \n a b c D #2", path: "a b c D",
			changes: []string{"3: longer at 3: a b D -> a b c D"},
		},
		"a longer path whose destination is silent": {
			rounds: "a b D \n a b c d * \n a b c * * \n a b c d D", path: "a b c d D",
			changes: []string{"3: longer at 3: a b D -> a b c d ..."},
		},
		"a longer path with hops that are silent now and then": {
			rounds: "a b c d D \n a x * * * D \n a * y z * D \n a x y z d D", path: "a x y z d D",
			changes: []string{"3: longer at 2: a b c d D -> a x y z * D"},
		},
		"a shorter path": {
			rounds: "a b c D \n a b D #2", path: "a b D",
			changes: []string{"3: shorter at 3: a b c D -> a b D"},
		},
		"a duplicate makes the destination answer too early once": {
			rounds: "a b c d D \n a b D d D \n a b c d D #3", path: "a b c d D",
		},
		"a duplicate makes the destination answer at a hop that never does": {
			rounds: "a b * * D #2 \n a b D * D \n a b * * D #30", path: "a b * * D",
		},
		"a destination that lost its first probe in the first round is not a shorter path": {
			rounds: "a b * * D #2 \n a b * D \n a b * * D \n a b * D", path: "a b * D",
		},
		"a destination that loses the first probe is not a longer path": {
			rounds: "a b D \n a b * D #4 \n a b D \n a b * * D #4 \n a b D", path: "a b D",
		},
		"an error of the destination itself shows that it is reached": {
			rounds: "a b D \n a b D! #3", path: "a b D",
		},
		"one more silent router before the destination": {
			rounds: "a b D #10 \n a b * D #11", path: "a b D",
		},
		"one more silent router before the destination, for longer than chance would have it": {
			rounds: "a b D #10 \n a b * D #12", path: "a b * D",
			changes: []string{"22: longer at 3: a b D -> a b * D"},
		},
		"one more silent router before the destination, which has lost answers all the time": {
			rounds: strings.Repeat("a b D \n a b * D \n", 10) + "a b * D #14", path: "a b D",
		},
		"a longer path that is silent where the destination was": {
			rounds: "a b D \n a b * c D #2", path: "a b * c D",
			changes: []string{"3: longer at 4: a b D -> a b * c D"},
		},
		"one silent router less before the destination": {
			rounds: "a b * D #12 \n a b D #2", path: "a b D",
			changes: []string{"14: shorter at 3: a b * D -> a b D"},
		},
		"the path behind the first difference is not that of before": {
			rounds: "a b c d e D \n a b x * * * #2", path: "a b x ...",
			changes: []string{"3: new_router at 3: a b c d e D -> a b x ..."},
		},
		"silent hops before the first difference and behind the last one keep their routers": {
			rounds: "a b c d e f D \n * x c * * f D #2", path: "a x c d e f D",
			changes: []string{"3: new_router at 2: a b c d e f D -> a x c d e f D"},
		},
		"a hop in between that was silent is unknown": {
			rounds: "a b c d e D \n a x * y e D #2", path: "a x * y e D",
			changes: []string{"3: new_router at 2: a b c d e D -> a x * y e D"},
		},
		"what is kept of the old path is replaced in silence": {
			rounds: "a b c d D \n * x c * D #2 \n y x c z D", path: "y x c z D",
			changes: []string{"3: new_router at 2: a b c d D -> a x c d D"},
		},
		"what is kept of the old path and seen again is known": {
			rounds: "a b c D \n * x c D #2 \n a x c D \n y x c D #2", path: "y x c D",
			changes: []string{"3: new_router at 2: a b c D -> a x c D", "6: new_router at 1: a x c D -> y x c D"},
		},
		"a weak sign does not confirm a strong one": {
			rounds: "a b * D \n x b * D \n * b D \n a b * D", path: "a b * D",
		},
		"a weak sign is not confirmed by a strong one": {
			rounds: "a b * D \n * b D \n x b D \n x b D", path: "x b D",
			changes: []string{"4: shorter at 1: a b * D -> x b D"},
		},
		"two duplicates that are far apart": {
			rounds: "a b * * D #2 \n a b D * D \n a b * * D #12 \n a b D * D \n a b * * D #3", path: "a b * * D",
		},
	} {
		t.Run(name, func(t *testing.T) { checkChanges(t, test.rounds, test.changes, test.path) })
	}
}

func checkChanges(t *testing.T, rounds string, changes []string, path string) {
	t.Helper()
	f := follow(rounds)
	if diff := cmp.Diff(changes, f.changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	r := f.route(t)
	if got := letters(r.Path); got != path {
		t.Errorf("path: got %q, want %q", got, path)
	}
	if len(r.Hops) != len(r.Path.Hops) {
		t.Errorf("%d hops of a path of %d", len(r.Hops), len(r.Path.Hops))
	}
	if int(r.ChangesTotal) != len(changes) || len(r.Changes) != len(changes) {
		t.Errorf("%d changes counted, %d kept, %d told", r.ChangesTotal, len(r.Changes), len(changes))
	}
}

func TestLoops(t *testing.T) {
	for name, test := range map[string]struct {
		rounds  string
		changes []string
		path    string
	}{
		"two routers, from the first round on": {
			rounds: "a b c b c b c #3", path: "a b c >2",
		},
		"the highest TTL does not matter": {
			rounds: "a b c b c b c b c b c b c b c \n a b c b \n a b c b c b", path: "a b c >2",
		},
		"a path becomes a loop": {
			rounds: "a b c d D \n a b c b c b c #2", path: "a b c >2",
			changes: []string{"3: loop_began at 4: a b c d D -> a b c >2"},
		},
		"a loop ends": {
			rounds: "a b c b c b c \n a b c d D #2", path: "a b c d D",
			changes: []string{"3: loop_ended at 4: a b c >2 -> a b c d D"},
		},
		"routers that limit their answers": {
			rounds: "a b c d D \n a b * b * b * b \n a * c * c * c * #2 \n a b * * c * c * #5", path: "a b c >2",
			changes: []string{"3: loop_began at 4: a b c d D -> a b c >2"},
		},
		"a loop of three whose routers limit their answers, from the first round on": {
			rounds: "a * c * * c * * * * b * d \n a b * * b c * * * * * * d \n a * * d * * * b * d b *", path: "a b c d >2",
		},
		"a turn that looked longer at first": {
			rounds: "a b c * * * * b c \n a b * b * \n a b c b c", path: "a b c >2",
		},
		"what a later turn shows": {
			rounds: "a b * b * b * \n a b * * c * *", path: "a b c >2",
		},
		"a loop in which a router never answers": {
			rounds: "a b * d b * d b * d #3", path: "a b * d >2",
		},
		"a router that sends to itself": {
			rounds: "a b c D \n a b b b b b #2 \n a b b b b b b b b", path: "a b >2",
			changes: []string{"3: loop_began at 3: a b c D -> a b >2"},
		},
		"the same router at two neighbouring TTLs is no loop": {
			rounds: "a b b c D \n a b b c * #3", path: "a b b c ...",
		},
		"the same router twice on a way that leads on is no loop": {
			rounds: "a b a c D \n a b a c * #3", path: "a b a c ...",
		},
		"a destination that is reached is no loop": {
			rounds: "a b a b D \n a b a b * #5 \n a b a b D", path: "a b a b D",
		},
		"a loop that shows within the first rounds has been there": {
			rounds: "a b c * * * * \n a b c b c * *  \n a b c b c b c", path: "a b c >2",
		},
		"a loop where there was silence for long": {
			rounds: "a b c * * * * #20 \n a b c b c * * #2", path: "a b c >2",
			changes: []string{"22: loop_began at 4: a b c ... -> a b c >2"},
		},
		"a loop of which nothing is seen for long is shown as silence": {
			rounds: "a b c b c b c \n a b c * * * * #10", path: "a b c ...",
		},
		"and is no news when it is seen again": {
			rounds: "a b c b c b c \n a b c * * * * #10 \n a b c b c b c", path: "a b c >2",
		},
		"another loop": {
			rounds: "a b c b c b c \n a b d b d b d #2", path: "a b d >2",
			changes: []string{"3: new_router at 3: a b c >2 -> a b d >2"},
		},
	} {
		t.Run(name, func(t *testing.T) { checkChanges(t, test.rounds, test.changes, test.path) })
	}
}

func TestUnreachable(t *testing.T) {
	for name, test := range map[string]struct {
		rounds  string
		changes []string
		path    string
	}{
		"from the first round on": {
			rounds: "a b b! b! b!", path: "a b!",
		},
		"a router begins to say it": {
			rounds: "a b c D \n a b b! b! #2", path: "a b!",
			changes: []string{"3: block_began at 3: a b c D -> a b!"},
		},
		"the last router says it of a destination that is gone": {
			rounds: "a b c D \n a b c * #2 \n a b c c! #2", path: "a b c!",
			changes: []string{"5: block_began at 4: a b c ... -> a b c!"},
		},
		"it ends": {
			rounds: "a b! b! b! \n a b c D #2", path: "a b c D",
			changes: []string{"3: block_ended at 3: a b! -> a b c D"},
		},
		"it says so when asked with a higher TTL only": {
			rounds: "a b * c! c! \n a b c c! c! \n a b * * c! \n a b c! c! c!", path: "a b c!",
		},
		"it says so now and then": {
			rounds: "a b c D \n a b c c! #2 \n a b c * \n a b c c! \n a b c * #3 \n a b c! *", path: "a b c!",
			changes: []string{"3: block_began at 4: a b c D -> a b c!"},
		},
		"it has said nothing for long": {
			rounds: "a b c! \n a b c * #10", path: "a b c ...",
		},
		"another router says it": {
			rounds: "a b c! \n a d! * #2", path: "a d!",
			changes: []string{"3: new_router at 2: a b c! -> a d!"},
		},
		"one round of it is no change": {
			rounds: "a b c D \n a b! b! b! \n a b c D", path: "a b c D",
		},
		"within the first rounds it has been there": {
			rounds: "a b * * \n a b b! b! #2", path: "a b!",
		},
		"where there was silence for long": {
			rounds: "a b * * #20 \n a b b! b! #2", path: "a b!",
			changes: []string{"22: block_began at 2: a b ... -> a b!"},
		},
		"a router that says it and passes on all the same is a router": {
			rounds: "a b! c D #3", path: "a b c D",
		},
		"of a router that sent back to itself": {
			rounds: "a b b b b \n a b! b! b! #2", path: "a b!",
			changes: []string{"3: block_began at 2: a b >2 -> a b!"},
		},
		"two routers at the same hop say it in turn": {
			rounds: "a b c D #20 \n" + strings.Repeat("a x! \n a y! \n", 100), path: "a y!",
			changes: []string{"22: block_began at 2: a b c D -> a y!"},
		},
		"two routers at different hops say it in turn": {
			rounds: "a b c D #20 \n" + strings.Repeat("a b! \n a b x! \n", 100), path: "a b x!",
			changes: []string{"22: block_began at 3: a b c D -> a b x!"},
		},
		"two routers say it in turn within the first rounds": {
			rounds: "a * * * \n" + strings.Repeat("a x! \n a y! \n", 5), path: "a y!",
		},
		"its router turns out to be nearer": {
			rounds: "a b * c! \n a b c *", path: "a b c!",
		},
		"of a loop": {
			rounds: "a b c b c b \n a b! b! b! b! b! #2", path: "a b!",
			changes: []string{"3: block_began at 3: a b c >2 -> a b!"},
		},
	} {
		t.Run(name, func(t *testing.T) { checkChanges(t, test.rounds, test.changes, test.path) })
	}
}

func TestBalancing(t *testing.T) {
	for name, test := range map[string]struct {
		rounds  string
		changes []string
		path    string
	}{
		"two routers in strict turn": {
			rounds: "a b c D \n a x c D \n a b c D \n a x c D \n a b c D \n a x c D", path: "a b c D",
		},
		"two routers that have taken turns may come twice": {
			rounds: "a b c D \n a x c D \n a b c D \n a x c D \n a b c D \n a x c D #2 \n a b c D #2 \n a x c D #30 \n a b c D #30", path: "a b c D",
		},
		"two routers, twice each: a few changes, then none": {
			rounds: `a b c D #2
				a x c D #2
				a b c D #2
				a x c D #2
				a b c D #2
				a x c D #2
				a b c D #2`,
			path: "a x c D",
			changes: []string{
				"4: new_router at 2: a b c D -> a x c D",
				"6: new_router at 2: a x c D -> a b c D",
				"8: new_router at 2: a b c D -> a x c D",
			},
		},
		"a path that fails, comes back and fails again is news": {
			rounds: "a b c D #2 \n a x c D \n a b c D \n a x c D #2", path: "a x c D",
			changes: []string{"6: new_router at 2: a b c D -> a x c D"},
		},
		"a router that is left out for good is a change in the end": {
			rounds: "a b c D \n a x c D \n a b c D \n a x c D \n a b c D \n a x c D #80", path: "a x c D",
			changes: []string{"68: new_router at 2: a b c D -> a x c D"},
		},
		"a way that is longer comes and goes: a few changes, then none": {
			rounds: strings.Repeat("a b c D #30 \n a x y c D #2 \n", 40) + "a b c D", path: "a x y c D",
			changes: []string{
				"32: longer at 2: a b c D -> a x y c D", "34: shorter at 2: a x y c D -> a b c D",
				"64: longer at 2: a b c D -> a x y c D", "66: shorter at 2: a x y c D -> a b c D",
				"96: longer at 2: a b c D -> a x y c D", "98: shorter at 2: a x y c D -> a b c D",
				"128: longer at 2: a b c D -> a x y c D", "130: shorter at 2: a x y c D -> a b c D",
			},
		},
		"a way that came and went, and now stays, is a change after all": {
			rounds: strings.Repeat("a b D #30 \n a x y D #2 \n", 5) + "a x y D #60", path: "a x y D",
			changes: []string{
				"32: longer at 2: a b D -> a x y D", "34: shorter at 2: a x y D -> a b D",
				"64: longer at 2: a b D -> a x y D", "66: shorter at 2: a x y D -> a b D",
				"96: longer at 2: a b D -> a x y D", "98: shorter at 2: a x y D -> a b D",
				"128: longer at 2: a b D -> a x y D", "130: shorter at 2: a x y D -> a b D",
				"220: longer at 2: a b D -> a x y D",
			},
		},
		"what fails for an hour, time and again, is told": {
			rounds: strings.Repeat("a b D #60 \n a x y D #10 \n", 6), path: "a x y D",
			changes: []string{
				"62: longer at 2: a b D -> a x y D", "72: shorter at 2: a x y D -> a b D",
				"132: longer at 2: a b D -> a x y D", "142: shorter at 2: a x y D -> a b D",
				"202: longer at 2: a b D -> a x y D", "212: shorter at 2: a x y D -> a b D",
				"272: longer at 2: a b D -> a x y D", "282: shorter at 2: a x y D -> a b D",
				"342: longer at 2: a b D -> a x y D", "352: shorter at 2: a x y D -> a b D",
				"412: longer at 2: a b D -> a x y D",
			},
		},
		"what takes turns at one hop excuses nothing at another": {
			rounds: "a b c D \n a x c D \n a b c D \n a x c D \n a b c D \n a x c D #2 \n a b y D #2", path: "a b y D",
			changes: []string{"9: new_router at 3: a b c D -> a b y D"},
		},
	} {
		t.Run(name, func(t *testing.T) { checkChanges(t, test.rounds, test.changes, test.path) })
	}
}
