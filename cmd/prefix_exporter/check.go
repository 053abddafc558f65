package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/alecthomas/kingpin/v2"

	"prefix_exporter/config"
	"prefix_exporter/probe"
)

// checkArguments is the command line of check.
type checkArguments struct {
	file    string // -: standard input
	strict  bool
	quiet   bool
	json    bool
	explain string
	against string

	explainGiven, againstGiven bool // an empty value is a slip of a script, and must not pass for none
}

// checkCommand adds the command check to the command line.
func checkCommand(cli *kingpin.Application, a *checkArguments) {
	cmd := cli.Command("check", "Validate a configuration file and say what it will cost.")
	cmd.Flag("strict", "Treat warnings as mistakes: exit status 1.").BoolVar(&a.strict)
	cmd.Flag("quiet", "Print nothing about a valid file but warnings.").Short('q').BoolVar(&a.quiet)
	cmd.Flag("json", "Print mistakes, warnings and costs as JSON.").BoolVar(&a.json)
	cmd.Flag("explain", "Print the settings in force for one address instead of the cost, and where each comes from.").PlaceHolder("IP").IsSetByUser(&a.explainGiven).StringVar(&a.explain)
	cmd.Flag("against", "Another configuration file, such as the one in force: warn when more than half of its addresses are not in FILE.").PlaceHolder("FILE").IsSetByUser(&a.againstGiven).StringVar(&a.against)
	cmd.Arg("FILE", "Configuration file, - for standard input.").Required().StringVar(&a.file)
}

// report is what check has found out, in the form of --json.
type report struct {
	File     string           `json:"file"`
	Valid    bool             `json:"valid"`
	Mistakes config.Errors    `json:"mistakes"`
	Warnings config.Errors    `json:"warnings"`
	Cost     *config.Cost     `json:"cost,omitempty"`
	Settings []config.Setting `json:"settings,omitempty"`
}

// check validates a file and prints its cost. The error says why the exit status is not 0.
func check(a checkArguments, stdin io.Reader, stdout, stderr io.Writer) error {
	r := report{File: a.file, Mistakes: config.Errors{}, Warnings: config.Errors{}}
	if err := r.fill(a, stdin); err != nil {
		if !a.json {
			return err
		}
		r.Mistakes = mistakes(a.file, err)
	}
	r.Valid = len(r.Mistakes) == 0
	if err := r.print(a, stdout, stderr); err != nil {
		return err
	}
	if !r.Valid || a.strict && len(r.Warnings) > 0 {
		return errSaid
	}
	return nil
}

// fill finds out what there is to say.
func (r *report) fill(a checkArguments, stdin io.Reader) error {
	var addr netip.Addr
	if a.explain != "" || a.explainGiven {
		var err error
		if addr, err = netip.ParseAddr(a.explain); err != nil {
			return fmt.Errorf("explain %q: must be an IPv4 or IPv6 address", a.explain)
		}
	}
	load := func(path string) (*config.Written, error) {
		if path == "-" {
			return config.ReadWritten(context.Background(), path, stdin)
		}
		return config.LoadWritten(context.Background(), path)
	}
	if a.file == "" {
		return errors.New(`FILE "": must be the name of a configuration file, or - for standard input`)
	}
	if a.againstGiven && a.against == "" {
		return errors.New(`against "": must be the name of a configuration file, or - for standard input`)
	}
	if a.file == "-" && a.against == "-" {
		return errors.New("against \"-\": standard input is FILE already")
	}
	c, err := load(a.file)
	if err != nil {
		return err
	}
	r.Warnings = append(r.Warnings, c.Warnings...)
	r.Warnings = append(r.Warnings, c.Absent(probe.Absent)...)
	if a.against != "" {
		old, err := load(a.against)
		if err != nil {
			return err
		}
		if removed, of := config.Removed(old.Config, c.Config); config.Many(removed, of) {
			r.Warnings = append(r.Warnings, config.Error{File: a.file, Line: 1, Message: fmt.Sprintf("%d of the %d addresses of %s are not probed any more", removed, of, a.against)})
		}
	}
	if a.explain != "" {
		r.Settings, err = c.Explain(addr.Unmap())
		return err
	}
	cost := c.Cost()
	r.Cost = &cost
	return nil
}

// mistakes returns what an error consists of.
func mistakes(name string, err error) config.Errors {
	var all config.Errors
	if errors.As(err, &all) {
		return all
	}
	return config.Errors{{File: name, Line: 1, Message: err.Error()}}
}

// print writes the report: for a program, or for a person.
func (r *report) print(a checkArguments, stdout, stderr io.Writer) error {
	if a.json {
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	for _, w := range r.Warnings {
		w.Message = "warning: " + w.Message
		fmt.Fprintln(stderr, w)
	}
	if a.quiet {
		return nil
	}
	if r.Cost != nil {
		_, err := fmt.Fprintln(stdout, r.Cost)
		return err
	}
	_, err := stdout.Write(settingsTable(r.Settings))
	return err
}

// settingsTable is the settings of one address as text.
func settingsTable(list []config.Setting) []byte {
	keys, values := 0, 0
	for _, s := range list {
		keys, values = max(keys, len(s.Key)), max(values, min(len(s.Value), widest))
	}
	var b bytes.Buffer
	for _, s := range list {
		fmt.Fprintf(&b, "%-*s  %-*s  %s\n", keys, s.Key, values, s.Value, s.From())
	}
	return b.Bytes()
}

// widest is how far the column of values makes room for a long one: the list of buckets has 130 characters.
const widest = 40
