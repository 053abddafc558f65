package app

import (
	"context"
	"sync"
	"time"

	"prefix_exporter/event"
	"prefix_exporter/prefix"
)

// pumpInterval is how long a change of state waits before it is told: too short for a
// human to notice, and long enough for an outage of everything to be one piece of work.
const pumpInterval = 50 * time.Millisecond

// pump takes changes of state from the probing loops, which have no time to describe
// and publish ten thousand of them in a second, and does it for them. It holds at most what
// changes within pumpInterval.
type pump struct {
	log *event.Log
	// follow is told of each batch, too. Nil: nobody asks.
	follow func([]prefix.Change)

	flushing sync.Mutex // held for a whole flush, so that batches stay in order

	mu      sync.Mutex
	changes []prefix.Change
	spare   []prefix.Change // the memory of the last batch
}

// add takes one change. It neither blocks nor wakes anybody.
func (p *pump) add(c prefix.Change) {
	p.mu.Lock()
	p.changes = append(p.changes, c)
	p.mu.Unlock()
}

// flush publishes what has been taken.
func (p *pump) flush() {
	p.flushing.Lock()
	defer p.flushing.Unlock()
	p.mu.Lock()
	batch := p.changes
	p.changes = p.spare[:0]
	p.mu.Unlock()
	for _, c := range batch {
		p.log.Publish(newEvent(c))
	}
	if p.follow != nil && len(batch) > 0 {
		p.follow(batch)
	}
	p.mu.Lock()
	p.spare = batch
	p.mu.Unlock()
}

// run publishes until the context ends. What comes later is left for flush.
func (p *pump) run(ctx context.Context) error {
	ticker := time.NewTicker(pumpInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			p.flush()
		}
	}
}
