package config

import (
	"errors"
	"net/netip"
)

// Absent returns a warning for each interface and source address of the configuration that a machine does not have
// now: their prefixes are not probed before it has. absent says what it lacks, or nil; the zero Addr and the empty name
// are never absent.
func (w *Written) Absent(absent func(source netip.Addr, device string) error) Errors {
	var list Errors
	warn := func(at *place, value string, err error) {
		if why := errors.Unwrap(err); why != nil {
			err = why // the value says the rest
		}
		list = append(list, newError(at, value, "not on this machine: %v: the prefix is not probed until it is", err))
	}
	for _, e := range w.loader.entries {
		if err := absent(netip.Addr{}, e.iface); err != nil {
			warn(e.place("interface"), e.iface, err)
		} else if err := absent(e.source, e.iface); err != nil {
			warn(e.place("source"), e.source.String(), err)
		}
	}
	return list
}
