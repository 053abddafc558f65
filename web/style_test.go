package web

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Least differences. The first is that of WCAG 2.2, success criterion 1.4.3 (AA); the others are
// CIEDE2000, of which 1 can just be seen side by side, and cells are small and far apart. The usual palette
// may ask more of eyes that do not tell red from green: for them is the other one.
const (
	leastContrast   = 4.5
	leastUsual      = 10
	leastDifference = 13
)

// rgb is a colour, each part from 0 to 1.
type rgb [3]float64

// TestTextCanBeReadInEveryTheme compares each colour of text with each colour that it stands on.
func TestTextCanBeReadInEveryTheme(t *testing.T) {
	for theme, colours := range themes(t) {
		fresh := mix(colours["accent"], colours["surface"], 0.09) // the newest events
		alarm := mix(colours["bad"], colours["surface"], 0.16)    // what is said of trouble
		for _, text := range []string{"text", "quiet", "accent", "good", "bad", "warn"} {
			on := map[string]rgb{"page": colours["page"], "surface": colours["surface"], "raised": colours["raised"]}
			if text != "warn" {
				on["a new event"] = fresh
			}
			if text == "text" || text == "bad" {
				on["trouble"] = alarm
			}
			if text == "text" {
				on["the badge unknown"] = mix(colours["unknown"], colours["page"], 0.25)
				on["the chip unknown"] = mix(colours["unknown"], colours["surface"], 0.25)
			}
			for name, ground := range on {
				if c := contrast(colours[text], ground); c < leastContrast {
					t.Errorf("%s: %s on %s has a contrast of %.2f: must be %v", theme, text, name, c, leastContrast)
				}
			}
		}
		for _, badge := range []string{"down", "red"} {
			if c := contrast(colours["page"], colours[badge]); c < leastContrast {
				t.Errorf("%s: the badge %s has a contrast of %.2f: must be %v", theme, badge, c, leastContrast)
			}
		}
	}
}

// TestStepsOfTheSeverityScaleAreToldApart compares the colours of cells as eyes with all cones see
// them, and eyes without those for red (protanopia) or green (deuteranopia).
func TestStepsOfTheSeverityScaleAreToldApart(t *testing.T) {
	scale := []string{"ok", "slow1", "slow2", "slow3", "red", "lost", "down", "dark", "unknown"}
	for theme, colours := range themes(t) {
		least := float64(leastUsual)
		if strings.HasSuffix(theme, "safe") {
			least = leastDifference
		}
		for eyes, matrix := range map[string][3]rgb{
			"all cones": {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}},
			// G. M. Machado et al., A physiologically-based model for simulation of color vision
			// deficiency, 2009, table 1 at severity 1, for linear RGB.
			"no red cones":   {{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}},
			"no green cones": {{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}},
		} {
			for i, a := range scale {
				for _, b := range scale[i+1:] {
					if d := difference(lab(colours[a], matrix), lab(colours[b], matrix)); d < least {
						t.Errorf("%s, %s: %s and %s differ by %.1f: must be %v", theme, eyes, a, b, d, least)
					}
				}
			}
			for _, b := range []string{"waiting", "page"} { // that nothing is known is not that there is nothing
				if d := difference(lab(colours["unknown"], matrix), lab(colours[b], matrix)); d < least {
					t.Errorf("%s, %s: unknown and %s differ by %.1f: must be %v", theme, eyes, b, d, least)
				}
			}
		}
	}
}

// themes reads the colours of all themes and palettes as the rules of the style sheet give them.
func themes(t *testing.T) map[string]map[string]rgb {
	t.Helper()
	css, err := os.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	const dark, light, safe, both = ":root", `:root[data-theme="light"]`, `:root[data-palette="safe"]`, `:root[data-palette="safe"][data-theme="light"]`
	all := map[string]map[string]rgb{}
	for theme, rules := range map[string][]string{
		"dark": {dark}, "light": {dark, light}, "dark, safe": {dark, safe}, "light, safe": {dark, light, safe, both},
	} {
		all[theme] = map[string]rgb{}
		for _, rule := range rules {
			body := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(rule) + ` \{([^}]*)\}`).FindSubmatch(css)
			if body == nil {
				t.Fatalf("no rule %s", rule)
			}
			for _, m := range regexp.MustCompile(`--([\w-]+): #([0-9a-f]{6});`).FindAllSubmatch(body[1], -1) {
				v, err := strconv.ParseUint(string(m[2]), 16, 32)
				if err != nil {
					t.Fatal(err)
				}
				all[theme][string(m[1])] = rgb{float64(v>>16) / 255, float64(v>>8&255) / 255, float64(v&255) / 255}
			}
		}
		for _, name := range []string{"page", "text", "red", "dark"} {
			if _, ok := all[theme][name]; !ok {
				t.Fatalf("%s: no colour %s", theme, name)
			}
		}
	}
	return all
}

// mix returns a colour of which a share is laid over another one.
func mix(over, ground rgb, share float64) rgb {
	for i := range over {
		over[i] = share*over[i] + (1-share)*ground[i]
	}
	return over
}

// linear undoes the transfer function of sRGB (IEC 61966-2-1).
func linear(c rgb) rgb {
	for i, v := range c {
		if v <= 0.04045 {
			c[i] = v / 12.92
		} else {
			c[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return c
}

// contrast is the contrast ratio of WCAG 2.2, from 1 to 21.
func contrast(a, b rgb) float64 {
	luminance := func(c rgb) float64 {
		c = linear(c)
		return 0.2126*c[0] + 0.7152*c[1] + 0.0722*c[2]
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// lab returns the CIELAB coordinates (D65) of a colour after a matrix on its linear parts.
func lab(c rgb, matrix [3]rgb) [3]float64 {
	c = linear(c)
	var v rgb
	for i, row := range matrix {
		v[i] = min(1, max(0, row[0]*c[0]+row[1]*c[1]+row[2]*c[2]))
	}
	f := func(t float64) float64 {
		if t > 0.008856 {
			return math.Cbrt(t)
		}
		return 7.787*t + 16.0/116
	}
	x := f((0.4124*v[0] + 0.3576*v[1] + 0.1805*v[2]) / 0.95047)
	y := f(0.2126*v[0] + 0.7152*v[1] + 0.0722*v[2])
	z := f((0.0193*v[0] + 0.1192*v[1] + 0.9505*v[2]) / 1.08883)
	return [3]float64{116*y - 16, 500 * (x - y), 200 * (y - z)}
}

// difference is CIEDE2000 (CIE 142) with all weights 1; names are those of the standard.
func difference(p, q [3]float64) float64 {
	chroma := func(v [3]float64) float64 { return math.Hypot(v[1], v[2]) }
	seventh := func(c float64) float64 { return math.Sqrt(math.Pow(c, 7) / (math.Pow(c, 7) + math.Pow(25, 7))) }
	g := 0.5 * (1 - seventh((chroma(p)+chroma(q))/2))
	p[1] *= 1 + g
	q[1] *= 1 + g
	c1, c2 := chroma(p), chroma(q)
	hue := func(v [3]float64) float64 { return math.Mod(math.Atan2(v[2], v[1])+2*math.Pi, 2*math.Pi) }
	h1, h2 := hue(p), hue(q)
	dh, hm := h2-h1, (h1+h2)/2
	if math.Abs(dh) > math.Pi {
		dh -= math.Copysign(2*math.Pi, dh)
		hm += math.Pi
	}
	deg := math.Pi / 180
	dL, dC, dH := q[0]-p[0], c2-c1, 2*math.Sqrt(c1*c2)*math.Sin(dh/2)
	lm, cm := (p[0]+q[0])/2, (c1+c2)/2
	tt := 1 - 0.17*math.Cos(hm-30*deg) + 0.24*math.Cos(2*hm) + 0.32*math.Cos(3*hm+6*deg) - 0.20*math.Cos(4*hm-63*deg)
	sl := 1 + 0.015*(lm-50)*(lm-50)/math.Sqrt(20+(lm-50)*(lm-50))
	sc, sh := 1+0.045*cm, 1+0.015*cm*tt
	turn := (hm/deg - 275) / 25
	rt := -2 * seventh(cm) * math.Sin(60*deg*math.Exp(-turn*turn))
	l, c, h := dL/sl, dC/sc, dH/sh
	return math.Sqrt(l*l + c*c + h*h + rt*c*h)
}
