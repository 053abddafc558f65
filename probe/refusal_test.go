package probe

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestARefusalIsJudgedByAskingAgain(t *testing.T) {
	const ok = syscall.Errno(0)
	noSource := fmt.Errorf("%w: source: %w", errPath, syscall.EADDRNOTAVAIL)
	for name, test := range map[string]struct {
		err       syscall.Errno
		pending   bool
		look      error // of a look
		broadcast error // of a look that may be a broadcast
		want      refusal
		says      error
	}{
		"no route":                                     {syscall.ENETUNREACH, true, syscall.ENETUNREACH, syscall.ENETUNREACH, refusedNoRoute, syscall.ENETUNREACH},
		"a route that is unreachable":                  {syscall.EHOSTUNREACH, true, syscall.EHOSTUNREACH, syscall.EHOSTUNREACH, refusedNoRoute, syscall.EHOSTUNREACH},
		"a route that prohibits":                       {syscall.EACCES, true, syscall.EACCES, syscall.EACCES, refusedNoRoute, syscall.EACCES},
		"a black hole":                                 {syscall.EINVAL, false, syscall.EINVAL, syscall.EINVAL, refusedNoRoute, syscall.EINVAL},
		"a family without addresses":                   {syscall.EADDRNOTAVAIL, false, syscall.EADDRNOTAVAIL, syscall.EADDRNOTAVAIL, refusedNoRoute, syscall.EADDRNOTAVAIL},
		"an echo request to a broadcast address":       {syscall.EACCES, true, syscall.EACCES, ok, refusedBroadcast, syscall.EACCES},
		"a connection to a broadcast address":          {syscall.ENETUNREACH, false, syscall.EACCES, ok, refusedBroadcast, syscall.ENETUNREACH},
		"an ICMP error for an earlier packet":          {syscall.EHOSTUNREACH, true, ok, ok, refusedPending, syscall.EHOSTUNREACH},
		"a refused connection, told to the wrong one":  {syscall.ECONNREFUSED, true, ok, ok, refusedPending, syscall.ECONNREFUSED},
		"an ICMP error where there is no route either": {syscall.ECONNREFUSED, true, syscall.ENETUNREACH, syscall.ENETUNREACH, refusedNoRoute, syscall.ENETUNREACH},
		"a control message that is not known":          {syscall.EINVAL, false, ok, ok, refusedHere, syscall.EINVAL},
		"no local port is free":                        {syscall.EADDRNOTAVAIL, false, ok, ok, refusedHere, syscall.EADDRNOTAVAIL},
		"a source address that is gone":                {syscall.EINVAL, false, noSource, noSource, refusedHere, syscall.EADDRNOTAVAIL},
		"a full queue":                                 {syscall.ENOBUFS, false, ok, ok, refusedHere, syscall.ENOBUFS},
		"a firewall of this machine":                   {syscall.EPERM, false, ok, ok, refusedHere, syscall.EPERM},
		"an interface that is gone":                    {syscall.ENODEV, false, syscall.ENODEV, syscall.ENODEV, refusedHere, syscall.ENODEV},
		"a security module":                            {syscall.EACCES, false, ok, ok, refusedHere, syscall.EACCES},
	} {
		t.Run(name, func(t *testing.T) {
			look := func(broadcast bool) error {
				err := test.look
				if broadcast {
					err = test.broadcast
				}
				if errors.Is(err, ok) {
					return nil
				}
				return err
			}
			got, err := judgeRefusal(test.err, test.pending, look)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !errors.Is(err, test.says) {
				t.Errorf("it says %v, want %v", err, test.says)
			}
			if errors.Is(test.look, errPath) {
				return // that is told of the prober, and yet there is no way
			}
			way := got != refusedNoRoute
			if got := hasWay(look); got != way {
				t.Errorf("has a way: %v, want %v", got, way)
			}
		})
	}
}

func TestWithoutASourceOrAnInterfaceThereIsNoWay(t *testing.T) {
	for name, test := range map[string]struct {
		why  error
		want bool
	}{
		"the source address is gone":     {syscall.EADDRNOTAVAIL, false},
		"the interface is gone":          {syscall.ENODEV, false},
		"there is no socket to ask with": {syscall.EMFILE, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hasWay(func(bool) error { return fmt.Errorf("%w: %w", errPath, test.why) }); got != test.want {
				t.Errorf("has a way: %v, want %v", got, test.want)
			}
		})
	}
}
