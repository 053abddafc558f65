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

// distance counts the insertions, deletions and replacements that make b of a
// (Levenshtein), at most 3 of them when the lengths alone say so.
func distance(a, b string) int {
	if len(a)-len(b) >= 3 || len(b)-len(a) >= 3 {
		return 3
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
