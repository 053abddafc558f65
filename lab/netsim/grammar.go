package netsim

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// This file is the grammar of the scenario file, said once: the decoder follows it, and docs/lab.md is checked against it.

// Key is one line of the grammar.
type Key struct {
	Path    string // such as rules[].delay.ramp.over
	Value   string // how to write it
	Meaning string
}

// Grammar lists every key of the scenario file in the order of reading.
func Grammar() []Key {
	var list []Key
	var walk func(prefix string, keys []key)
	walk = func(prefix string, keys []key) {
		for _, k := range keys {
			list = append(list, Key{prefix + k.name, k.value, k.meaning})
			if k.known {
				continue
			}
			if k.keys != nil {
				walk(prefix+k.name+".", k.keys())
			}
			if k.each != nil {
				walk(prefix+k.name+"[].", k.each())
			}
		}
	}
	walk("", scenarioKeys(new(Scenario)))
	return list
}

const (
	isDuration    = "a duration"
	isProbability = "a probability"
	isAddress     = "an address"
)

func scenarioKeys(s *Scenario) []key {
	return []key{
		{name: "seed", value: "a whole number, 0 to 2^64-1", meaning: "seed of every draw; default 0",
			scalar: func(v string) (err error) {
				if s.Seed, err = strconv.ParseUint(v, 0, 64); err != nil {
					return errors.New("must be a whole number from 0 to 2^64-1")
				}
				return nil
			}},
		{name: "source", value: "an address or a list of them, one per family", meaning: "the local end; default 198.18.0.1 and fd00:c612::1",
			item: func(v string) error {
				var a netip.Addr
				err := takeAddr(&a)(v)
				s.Source = append(s.Source, a)
				return err
			}},
		{name: "prefixes", value: "a list of prefixes or addresses", meaning: "what the lab is there for; every address of them answers at once unless a rule says otherwise",
			item: takePrefix(&s.Prefixes)},
		{name: "mtu", value: "1280 to 65535", meaning: "of the TUN device, in bytes; default 1500", scalar: takeInt(&s.MTU)},
		{name: "stamp", value: "true or false", meaning: "write the times of arrival and writing into bytes 32 to 47 of the payload of each reply that has them; default false",
			scalar: takeBool(&s.Stamp)},
		{name: "rules", value: "a list of rules", meaning: "for every property the most specific active rule that names it decides, the last one among equals",
			each: func() []key {
				s.Rules = append(s.Rules, Rule{})
				return ruleKeys(&s.Rules[len(s.Rules)-1])
			}},
		{name: "routes", value: "a list of routes", meaning: "the ways to addresses; the most specific active route decides, the last one among equals; without any, hosts are one hop away",
			each: func() []key {
				s.Routes = append(s.Routes, Route{})
				return routeKeys(&s.Routes[len(s.Routes)-1])
			}},
	}
}

func ruleKeys(r *Rule) []key {
	delay, spread, jitter, silent := new(Delay), new(time.Duration), new(time.Duration), new(bool)
	loss, duplicate, reorder, corrupt := new(Loss), new(Duplicate), new(Reorder), &Corrupt{Mode: Flip}
	limit, answer, service := new(RateLimit), new(netip.Addr), new(Service)
	var noAnswer bool
	return []key{
		{name: "prefix", value: "a prefix, an address, or a list of them", meaning: "whom the rule is about; default everybody", item: takePrefix(&r.Prefixes)},
		{name: "protocol", value: "`icmp`, `tcp`, `udp`, or a list of them", meaning: "the packets that the rule is about: echo requests, SYNs, datagrams; default all",
			item: takeProtocol(&r.Protocols)},
		{name: "port", value: "a port, a range such as 8000-8099, or a list of them", meaning: "destination ports of TCP and UDP that the rule is about; default all packets",
			item: takePorts(&r.Ports)},
		{name: "from", value: isDuration, meaning: "when the rule begins, from the start of the lab; default 0s", scalar: takeDuration(&r.From)},
		{name: "until", value: isDuration, meaning: "when it ends; default never", scalar: takeDuration(&r.Until)},
		{name: "delay", value: "a duration or a mapping", meaning: "from the arrival of the request to writing the reply; default 0s",
			begin: func() { r.Delay = delay }, scalar: takeDuration(&delay.Constant), keys: func() []key { return delayKeys(delay) }},
		{name: "spread", value: isDuration, meaning: "a constant extra delay of each address, drawn from 0s to this",
			begin: func() { r.Spread = spread }, scalar: takeDuration(spread)},
		{name: "jitter", value: isDuration, meaning: "an extra delay of each reply, uniform in plus or minus this; the sum is never below 0s",
			begin: func() { r.Jitter = jitter }, scalar: takeDuration(jitter)},
		{name: "loss", value: "a probability or a mapping", meaning: "requests that vanish; the kinds add up",
			begin: func() { r.Loss = loss }, scalar: takeProbability(&loss.Probability), keys: func() []key { return lossKeys(loss) }},
		{name: "duplicate", value: "a probability or a mapping", meaning: "requests that are answered more than once",
			begin: func() { r.Duplicate = duplicate }, scalar: takeProbability(&duplicate.Probability), keys: func() []key { return duplicateKeys(duplicate) }},
		{name: "reorder", value: "a mapping", meaning: "replies that are held back, so that later ones overtake them",
			begin: func() { r.Reorder = reorder }, keys: func() []key { return reorderKeys(reorder) }},
		{name: "corrupt", value: "a probability or a mapping", meaning: "echo replies that are damaged",
			begin: func() { r.Corrupt = corrupt }, scalar: takeProbability(&corrupt.Probability), keys: func() []key { return corruptKeys(corrupt) }},
		{name: "silent", value: "true or false", meaning: "nobody answers: a dark address, an outage",
			begin: func() { r.Silent = silent }, scalar: takeBool(silent)},
		errorKey("unreachable", "an ICMP destination unreachable instead of the reply", &r.Unreachable, unreachableCodes),
		errorKey("ttl_exceeded", "an ICMP time exceeded instead of the reply", &r.TTLExceeded, exceededCodes),
		{name: "rate_limit", value: "a rate such as 10/s, a mapping, or `off`", meaning: "requests above it vanish",
			begin: func() { r.RateLimit = limit }, scalar: orOff(new(bool), takeRate(&limit.Rate)), keys: func() []key { return limitKeys(limit) }},
		{name: "answer_from", value: "an address or `off`", meaning: "the source of echo replies, instead of the address asked",
			begin: func() { r.AnswerFrom = answer }, scalar: orOff(&noAnswer, takeAddr(answer))},
		{name: "tcp", value: "`refused`, `open`, `silent`, `reset` or `reset_early`",
			meaning: "what a SYN meets: a reset; a handshake, and an orderly close; nothing; a handshake, and a reset in answer to its ACK; a reset right behind the SYN/ACK; default refused",
			begin:   func() { r.TCP = service }, scalar: takeService(service)},
	}
}

func delayKeys(d *Delay) []key {
	normal, ramp := new(Normal), new(Ramp)
	return []key{
		{name: "constant", value: isDuration, meaning: "the same for every reply", scalar: takeDuration(&d.Constant)},
		{name: "normal", value: "a mapping", meaning: "normally distributed", begin: func() { d.Normal = normal },
			keys: func() []key {
				return []key{
					{name: "mean", value: isDuration, meaning: "of the distribution", scalar: takeDuration(&normal.Mean)},
					{name: "stddev", value: isDuration, meaning: "standard deviation", scalar: takeDuration(&normal.Stddev)},
					{name: "min", value: isDuration, meaning: "no delay is below it; default 0s", scalar: takeDuration(&normal.Min)},
				}
			}},
		{name: "ramp", value: "a mapping", meaning: "changes linearly from the beginning of the rule, then stays", begin: func() { d.Ramp = ramp },
			keys: func() []key {
				return []key{
					{name: "from", value: isDuration, meaning: "the delay at the beginning", scalar: takeDuration(&ramp.From)},
					{name: "to", value: isDuration, meaning: "the delay at the end", scalar: takeDuration(&ramp.To)},
					{name: "over", value: isDuration, meaning: "how long the change takes", scalar: takeDuration(&ramp.Over)},
				}
			}},
	}
}

func lossKeys(l *Loss) []key {
	burst, periodic := new(Burst), new(Periodic)
	bad := 1.0
	return []key{
		{name: "probability", value: isProbability, meaning: "of each request by itself", scalar: takeProbability(&l.Probability)},
		{name: "burst", value: "a mapping", meaning: "Gilbert-Elliott, advanced once per request of a protocol to an address", begin: func() { l.Burst = burst },
			keys: func() []key {
				return []key{
					{name: "enter", value: isProbability, meaning: "of going into the bad state", scalar: takeProbability(&burst.Enter)},
					{name: "leave", value: isProbability, meaning: "of leaving it", scalar: takeProbability(&burst.Leave)},
					{name: "bad", value: isProbability, meaning: "of losing a request in the bad state; default 1",
						begin: func() { burst.Bad = &bad }, scalar: takeProbability(&bad)},
					{name: "good", value: isProbability, meaning: "of losing a request in the good state; default 0", scalar: takeProbability(&burst.Good)},
				}
			}},
		{name: "periodic", value: "a mapping", meaning: "everything during a part of each period, counted from the beginning of the rule", begin: func() { l.Periodic = periodic },
			keys: func() []key {
				return []key{
					{name: "period", value: isDuration, meaning: "from one beginning to the next", scalar: takeDuration(&periodic.Period)},
					{name: "length", value: isDuration, meaning: "how long everything is lost", scalar: takeDuration(&periodic.Length)},
				}
			}},
	}
}

func duplicateKeys(d *Duplicate) []key {
	return []key{
		{name: "probability", value: isProbability, meaning: "of each request", scalar: takeProbability(&d.Probability)},
		{name: "copies", value: "0 to 100", meaning: "how many replies more than one; default 1", scalar: takeInt(&d.Copies)},
		{name: "after", value: isDuration, meaning: "from each copy to the next; default 0s", scalar: takeDuration(&d.After)},
	}
}

func reorderKeys(r *Reorder) []key {
	return []key{
		{name: "probability", value: isProbability, meaning: "of each reply", scalar: takeProbability(&r.Probability)},
		{name: "delay", value: isDuration, meaning: "the extra delay of those held back", scalar: takeDuration(&r.Delay)},
	}
}

func corruptKeys(c *Corrupt) []key {
	return []key{
		{name: "probability", value: isProbability, meaning: "of each reply", scalar: takeProbability(&c.Probability)},
		{name: "mode", value: "`flip`, `payload` or `truncate`",
			meaning: "a wrong bit that breaks the ICMP checksum; a wrong bit in the first 16 payload bytes under a valid checksum; a shorter payload; default flip",
			scalar: func(s string) error {
				for m := Flip; m <= Truncate; m++ {
					if s == m.String() {
						c.Mode = m
						return nil
					}
				}
				return errors.New("must be one of flip, payload, truncate")
			}},
	}
}

// errorKey is the key of an ICMP error; to is set when the key is there.
func errorKey(name, meaning string, to **ICMPError, codes []code) key {
	e, p := new(ICMPError), 1.0
	take := takeCode(codes, &e.Code)
	return key{name: name, value: "a code, a mapping, or `off`", meaning: meaning,
		begin: func() { *to = e }, scalar: orOff(&e.Off, take),
		keys: func() []key {
			return []key{
				{name: "code", value: strings.ReplaceAll(codeNames(codes), ", ", " · ") + ", or a number", meaning: "default " + codes[0].name, scalar: take},
				{name: "from", value: isAddress, meaning: "the router that sends it; default the address asked", scalar: takeAddr(&e.From)},
				{name: "quote", value: "`8` or `full`", meaning: "quote the IP header and 8 bytes, or as much as RFC 1812 and RFC 4443 let; default full",
					scalar: takeQuote(&e.Short)},
				{name: "probability", value: isProbability, meaning: "that a request meets it; default 1",
					begin: func() { e.Probability = &p }, scalar: takeProbability(&p)},
			}
		}}
}

func takeCode(codes []code, to *string) func(string) error {
	return func(s string) error {
		if _, ok := findCode(codes, s); !ok || s == "" {
			return fmt.Errorf("must be a number from 0 to 255 or one of %s", codeNames(codes))
		}
		*to = s
		return nil
	}
}

func takeQuote(short *bool) func(string) error {
	return func(s string) error {
		if s != "8" && s != "full" {
			return errors.New("must be 8 or full")
		}
		*short = s == "8"
		return nil
	}
}

func limitKeys(l *RateLimit) []key {
	return []key{
		{name: "rate", value: "a rate such as 10/s", meaning: "how many requests are let through", scalar: takeRate(&l.Rate)},
		{name: "burst", value: "a whole number", meaning: "depth of the token bucket, which is full at first; default 1", scalar: takeInt(&l.Burst)},
		{name: "per", value: "`address` or `rule`", meaning: "one bucket for each address and protocol, or one for all of the rule; default address",
			scalar: func(s string) error {
				if s != "address" && s != "rule" {
					return errors.New("must be address or rule")
				}
				l.Share = s == "rule"
				return nil
			}},
	}
}

func takeRate(to *float64) func(string) error {
	return func(s string) error {
		r, err := strconv.ParseFloat(strings.TrimSuffix(s, "/s"), 64)
		if err != nil {
			return errors.New("must be a rate such as 10/s")
		}
		*to = r
		return nil
	}
}
