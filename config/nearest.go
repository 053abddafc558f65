package config

import "strings"

// Nearest returns the name that a mistyped word most likely means, or nothing.
func Nearest(typed string, names []string) string {
	best, least := "", 3 // more than two slips are another word
	for _, name := range names {
		// A third of the word wrong is no slip of the finger any more.
		if dist := distance(strings.ToLower(typed), name); dist < least && dist <= max(1, len(name)/3) {
			best, least = name, dist
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that make b of a (optimal
// string alignment), at most 3 of them when the lengths alone say so.
func distance(a, b string) int {
	if len(a)-len(b) >= 3 || len(b)-len(a) >= 3 {
		return 3
	}
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j]+cost, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
