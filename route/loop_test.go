package route

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

func TestFindLoop(t *testing.T) {
	for name, test := range map[string]struct {
		path         string
		from, length int
	}{
		"nothing":                              {"", 0, 0},
		"silence":                              {"* * * *", 0, 0},
		"no loop":                              {"a b c d", 0, 0},
		"two in turn":                          {"a b c b c", 2, 2},
		"from the first hop on":                {"a b a b", 1, 2},
		"a turn that begins again":             {"a b c d b", 2, 3},
		"one router":                           {"a b b b", 2, 1},
		"twice at neighbouring TTLs":           {"a b b", 0, 0},
		"twice with silence in between":        {"a b * b", 0, 0},
		"three times with silence in between":  {"a b * b * b", 2, 2},
		"a router that never answers":          {"a b * c b * c", 2, 3},
		"a router that passes on TTL 0":        {"a b b c b b c", 2, 3},
		"a pair of routers before the loop":    {"a a b c b c", 3, 2},
		"a pair that may be a part of it":      {"b b c d * * c d", 3, 4},
		"a way that leads on":                  {"a b a c", 0, 0},
		"a way that leads on after three":      {"a a a c", 0, 0},
		"the first hop is silent in its turn":  {"a * c b c b", 3, 2},
		"much silence":                         {"a b * * * * c b * * * * c", 2, 6},
		"a turn of which a part is seen again": {"a b c * c * * b", 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var cells []netip.Addr
			for _, a := range answers(test.path) {
				cells = append(cells, a.From)
			}
			if from, length := findLoop(cells); from != test.from || length != test.length {
				t.Errorf("got a turn of %d from %d on, want %d from %d on", length, from, test.length, test.from)
			}
		})
	}
}

func TestATurnIsNeverTakenForAPartOfIt(t *testing.T) {
	found, exact := 0, 0
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 4))
		before, length := r.IntN(6), 1+r.IntN(6)
		cells := make([]netip.Addr, 8+r.IntN(23))
		silence := r.Float64() * 0.9
		for i := range cells {
			hop := i
			if i >= before {
				hop = before + (i-before)%length
			}
			if r.Float64() >= silence {
				cells[i] = letter(rune('a' + hop))
			}
		}
		from, n := findLoop(cells)
		if n == 0 {
			continue
		}
		found++
		if n == length && from == before+1 {
			exact++
		}
		if n%length != 0 || from <= before {
			t.Fatalf("seed %d: a turn of %d from %d on is taken for one of %d from %d on: %v", seed, length, before+1, n, from, cells)
		}
	}
	if found < 10000 || exact < found/2 {
		t.Errorf("%d found, %d of them exactly", found, exact)
	}
}
