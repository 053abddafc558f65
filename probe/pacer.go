package probe

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// maxPortable bounds the probes of a portable engine in flight, each of which has a socket
// and up to three goroutines. Common limits of file descriptors start at 1,024.
const maxPortable = 900

// pacer is what the portable engines share: it starts each probe when it is due, in
// goroutines of its own.
type pacer struct {
	o      Options
	common *common
	report *reporter
	base   time.Time

	mu      sync.Mutex // guards what follows
	origins *origins
	groups  []*group
	changed chan struct{} // closed and replaced by regroup
	tally   tally

	// watch is called after each turn, with mu held; active: again soon; offline: this machine is.
	watch func(now int64) (active, offline bool)

	flying atomic.Int64
}

func newPacer(o Options, c *common, r *reporter, origins *origins) pacer {
	return pacer{o: o, common: c, report: r, origins: origins, base: time.Now(), changed: make(chan struct{})}
}

// now is the monotonic time of the engine, in nanoseconds.
func (p *pacer) now() int64 { return int64(time.Since(p.base)) }

// regroup takes the targets by interval. The caller holds p.mu.
func (p *pacer) regroup(members map[time.Duration][]uint32, phaseOf func(slot uint32, interval time.Duration) time.Duration) {
	p.groups = regroup(p.groups, members, phaseOf, p.now(), -p.base.UnixNano())
	close(p.changed)
	p.changed = make(chan struct{})
}

// launcher starts the probe of a target. It must not block, and adds the goroutines that
// it makes to flights. It is called with p.mu held.
type launcher func(ctx context.Context, flights *sync.WaitGroup, slot uint32)

// run starts what is due until the context ends, and waits for what it started. skip is
// told, with p.mu held, what is left out.
func (p *pacer) run(ctx context.Context, launch launcher, skip func(slot uint32)) {
	defer p.report.lines.start()()
	var flights sync.WaitGroup
	defer flights.Wait()
	defer p.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	judged, last := p.now(), p.now()
	for {
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-timer.C:
		}
		now := p.now()
		if pause := now - last; pause > int64(stallAfter+maxSleep) {
			p.common.stalls.Inc()
			p.report.trouble(ReasonStalled, fmt.Sprintf("the probing loop did not run for %v", time.Duration(pause).Round(time.Millisecond)))
		}
		last = now
		p.follow(now)
		next := p.launchDue(ctx, &flights, now, launch, skip)
		p.mu.Lock()
		active, offline := p.watch(now)
		if now-judged >= int64(healthEvery) {
			p.report.judge(&p.tally, offline, now)
			judged = now
		}
		p.mu.Unlock()
		if active {
			next = min(next, now+int64(reachEvery))
		}
		timer.Reset(time.Duration(next - p.now()))
	}
}

// follow looks what has come and gone. Each probe has sockets of its own, which finds what is there.
func (p *pacer) follow(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, og := range p.origins.watch(now) {
		p.origins.tell(og)
	}
}

func (p *pacer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.origins.close()
}

// maxSleep is how long the loop sleeps when nothing is due: until shares are judged.
const maxSleep = healthEvery

// launchDue starts every probe that is due, and returns when to look again. There is no quota: a loop that runs
// seldom starts all of its turn at once, which maxLag and maxPortable bound.
func (p *pacer) launchDue(ctx context.Context, flights *sync.WaitGroup, now int64, launch launcher, skip func(slot uint32)) (next int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next = now + int64(maxSleep)
	for _, g := range p.groups {
		for {
			i, due, ok := g.peek()
			if !ok {
				break
			}
			if due > now {
				next = min(next, due)
				break
			}
			g.advance()
			if now-due > g.maxLag || p.flying.Load() >= maxPortable {
				p.common.skipped.Inc()
				p.tally.skipped++
				skip(i)
				continue
			}
			p.common.lag.Observe(float64(now-due) / 1e9)
			p.flying.Add(1)
			launch(ctx, flights, i)
		}
	}
	return next
}

// landed says that a probe that was launched has ended.
func (p *pacer) landed() { p.flying.Add(-1) }
