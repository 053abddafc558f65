package route

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

func TestNumbersOfAHop(t *testing.T) {
	var h hop
	for _, rtt := range []time.Duration{10 * ms, 20 * ms, 60 * ms} {
		h.ok(&Answer{RTT: rtt, Labels: []Label{{Value: 16001, Class: 2, Bottom: true, TTL: 1}}})
	}
	h.fail(false)
	want := Hop{
		TTL: 4, Labels: []Label{{Value: 16001, Class: 2, Bottom: true, TTL: 1}},
		Sent: 4, Answered: 3, Best: 10 * ms, Worst: 60 * ms, Mean: 30 * ms,
		StdDev: 26457513, // the root of (20² + 10² + 30²) / 2 ms²
		Loss:   0.25, PathLoss: 0.125,
	}
	if diff := cmp.Diff(want, h.show(4, 0.125), comparer); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	h.ok(&Answer{RTT: -ms})
	if got := h.show(1, 1); got.Best != 0 || got.Last != 0 || got.Labels != nil {
		t.Errorf("an RTT below 0 and no labels: %+v", got)
	}
}

func TestTheLastRTTIsThatOfTheLastRound(t *testing.T) {
	for name, test := range map[string]struct {
		rounds string
		want   []time.Duration
	}{
		"all have answered":                    {"a b c D #5", []time.Duration{1 * ms, 2 * ms, 3 * ms, 4 * ms}},
		"another router has answered":          {"a b c D #5 \n a x c D", []time.Duration{1 * ms, 0, 3 * ms, 4 * ms}},
		"a router stops the probes before":     {"a b c D #5 \n a b!", []time.Duration{1 * ms, 2 * ms, 0, 0}},
		"a hop was not asked":                  {"a b c D #5 \n a . c D", []time.Duration{1 * ms, 0, 3 * ms, 4 * ms}},
		"another path, silent in places":       {"a b c D #5 \n x * * D", []time.Duration{0, 0, 0, 4 * ms}},
		"the round is shorter":                 {"a b c D #5 \n a b", []time.Duration{1 * ms, 2 * ms, 0, 0}},
		"the destination answers further away": {"a b c D #5 \n a b c d D", []time.Duration{1 * ms, 2 * ms, 3 * ms, 5 * ms}},
		"a new router that is silent again":    {"a b c D #5 \n a x y D \n a x * D", []time.Duration{1 * ms, 2 * ms, 0, 4 * ms}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []time.Duration
			for _, h := range follow(test.rounds).route(t).Hops {
				got = append(got, h.Last)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLossIsThatOfTheLastRounds(t *testing.T) {
	for name, test := range map[string]struct {
		rounds   string
		loss     []float64 // of each hop
		path     []float64
		limited  string // the hops that are
		sent     uint64 // to the first hop
		answered uint64
	}{
		"no loss": {
			rounds: "a b D #20", loss: []float64{0, 0, 0}, path: []float64{0, 0, 0}, sent: 20, answered: 20,
		},
		"loss is forgotten": {
			rounds: "a b D \n * * * #10 \n a b D #10", loss: []float64{0, 0, 0}, path: []float64{0, 0, 0}, sent: 21, answered: 11,
		},
		"probes that were not sent are neither sent nor lost": {
			rounds: "a b D #5 \n . b D #20", loss: []float64{0, 0, 0}, path: []float64{0, 0, 0}, sent: 5, answered: 5,
		},
		"a router that limits its answers": {
			rounds: "a b D #5 \n a * D #5", loss: []float64{0, .5, 0}, path: []float64{0, 0, 0}, limited: "2", sent: 10, answered: 10,
		},
		"two lost answers may be chance": {
			rounds: "a b D #8 \n a * D #2", loss: []float64{0, .2, 0}, path: []float64{0, 0, 0}, sent: 10, answered: 10,
		},
		"three are more than that": {
			rounds: "a b D #7 \n a * D #3", loss: []float64{0, .3, 0}, path: []float64{0, 0, 0}, limited: "2", sent: 10, answered: 10,
		},
		"loss that goes on behind the hop": {
			rounds: "a b c D #5 \n a * * D #1 \n a * * * #1 \n a b c D #3", loss: []float64{0, .2, .2, .1}, path: []float64{0, .1, .1, .1}, sent: 10, answered: 10,
		},
		"all is lost from a hop on": {
			rounds: "a b c D #5 \n a * * D #1 \n a * * * #1 \n a * * D #3 ", loss: []float64{0, .5, .5, .1}, path: []float64{0, .1, .1, .1}, limited: "2 3", sent: 10, answered: 10,
		},
		"a hop that never answers is no end of loss": {
			rounds: "a * c D #5 \n * * * D #5", loss: []float64{.5, 1, .5, 0}, path: []float64{0, 0, 0, 0}, limited: "1 3", sent: 10, answered: 5,
		},
		"the last router that answers has only itself to measure by": {
			rounds: "a b * * #5 \n a * * * #5", loss: []float64{0, .5}, path: []float64{0, .5}, sent: 10, answered: 10,
		},
		"a new router begins anew, with the rounds that showed it": {
			rounds: "a b D #10 \n x b D #3", loss: []float64{0, 0, 0}, path: []float64{0, 0, 0}, sent: 3, answered: 3,
		},
		"a router that was learned late begins then": {
			rounds: "* b D #10 \n a b D #2 \n * b D", loss: []float64{1. / 3, 0, 0}, path: []float64{0, 0, 0}, sent: 3, answered: 2,
		},
		"a router that takes turns with the one of the hop answers for it": {
			rounds: "a b D \n x b D \n a b D \n x b D \n a b D \n x b D #10", loss: []float64{0, 0, 0}, path: []float64{0, 0, 0}, sent: 15, answered: 13,
		},
		"a hop that was never asked has no part in it": {
			rounds: "a . D \n * . * \n a . D \n * . *", loss: []float64{.5, 0, .5}, path: []float64{.5, 0, .5}, sent: 4, answered: 2,
		},
		"nor is silence after it, as long as that is not sure": {
			rounds: "a b c D #5 \n a x c D \n a * * * #3 \n a b c D", loss: []float64{0, 1. / 7, 0, 0}, path: []float64{0, 0, 0, 0}, sent: 10, answered: 10,
		},
		"what another path may have lost is no loss of this one, but for the router that did not answer": {
			rounds: "a b c D #5 \n x * * * \n a b c D", loss: []float64{1. / 7, 0, 0, 0}, path: []float64{0, 0, 0, 0}, sent: 7, answered: 6,
		},
		"a destination that answers at another TTL has answered": {
			rounds: "a b D #9 \n a x y D", loss: []float64{0, .1, 0}, path: []float64{0, 0, 0}, sent: 10, answered: 10,
		},
		"what lies behind a block is lost": {
			rounds: "a b c D #9 \n a x!", loss: []float64{0, .1, .1, .1}, path: []float64{0, .1, .1, .1}, sent: 10, answered: 10,
		},
		"a router that is silent for good limits nothing": {
			rounds: "a b D #5 \n a * D #10", loss: []float64{0, 1, 0}, path: []float64{0, 0, 0}, sent: 15, answered: 15,
		},
		"nor does one that is unknown again": {
			rounds: "a b D #5 \n a * D #1000", loss: []float64{0, 1, 0}, path: []float64{0, 0, 0}, sent: 1005, answered: 1005,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var loss, path []float64
			var limited []string
			r := follow(test.rounds).route(t)
			for _, h := range r.Hops {
				loss, path = append(loss, h.Loss), append(path, h.PathLoss)
				if h.RateLimited {
					limited = append(limited, string(rune('0'+h.TTL)))
				}
			}
			if diff := cmp.Diff([][]float64{test.loss, test.path}, [][]float64{loss, path}); diff != "" {
				t.Errorf("loss and loss on the path (-want +got):\n%s", diff)
			}
			if got := strings.Join(limited, " "); got != test.limited {
				t.Errorf("rate limited: %q, want %q", got, test.limited)
			}
			if h := r.Hops[0]; h.Sent != test.sent || h.Answered != test.answered {
				t.Errorf("%d sent and %d answered, want %d and %d", h.Sent, h.Answered, test.sent, test.answered)
			}
		})
	}
}
