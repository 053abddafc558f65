package web

import (
	"net/http"
	"net/netip"
	"time"

	"prefix_exporter/route"
)

// registerRoutes adds the paths of the API that are about routes.
func (a *api) registerRoutes(mux *http.ServeMux) {
	mux.Handle("GET "+pathAPI+"routes", a.json(nil, a.routes))
	mux.Handle("GET "+pathAPI+"routes/{prefix...}", a.json(nil, a.route))
}

type routesJSON struct {
	Routes []routeJSON `json:"routes"`
}

// routeJSON is one route. Its lists are never null, but for Changes where they are not shown.
type routeJSON struct {
	Prefix   netip.Prefix `json:"prefix"`
	IP       *netip.Addr  `json:"ip"` // null: none has answered yet
	Protocol string       `json:"protocol"`
	Port     uint16       `json:"port"` // 0 of icmp
	Status   route.Status `json:"status"`
	// StatusDetail says in a few words how the path ends, if it is not reached.
	StatusDetail string            `json:"status_detail,omitempty"`
	Rounds       uint64            `json:"rounds"`
	Last         *time.Time        `json:"last"`  // null: not traced yet
	Stale        bool              `json:"stale"` // hops and status are those of Last, which is too old to be now
	ChangesTotal uint64            `json:"changes_total"`
	Hops         []hopJSON         `json:"hops"`
	Changes      []routeChangeJSON `json:"changes,omitzero"`
}

// hopJSON is one hop. Times are null as long as nothing has answered, the last one also
// if the last probe was lost; the deviation needs two answers.
type hopJSON struct {
	TTL         int         `json:"ttl"`
	Router      *netip.Addr `json:"router"` // null: has never answered, or not for an hour of rounds
	Destination bool        `json:"destination"`
	Labels      []labelJSON `json:"labels"`
	Sent        uint64      `json:"sent"`
	Answered    uint64      `json:"answered"`
	Loss        float64     `json:"loss_ratio"`
	PathLoss    float64     `json:"path_loss_ratio"`
	RateLimited bool        `json:"rate_limited"`
	Last        figure      `json:"last_seconds"`
	Best        figure      `json:"best_seconds"`
	Mean        figure      `json:"mean_seconds"`
	Worst       figure      `json:"worst_seconds"`
	StdDev      figure      `json:"stddev_seconds"`
}

// labelJSON is one entry of an MPLS label stack.
type labelJSON struct {
	Label  uint32 `json:"label"`
	Class  uint8  `json:"traffic_class"`
	Bottom bool   `json:"bottom"`
	TTL    uint8  `json:"ttl"`
}

// routeChangeJSON is one change of a path. In the paths an unknown router is null, as in hopJSON.
type routeChangeJSON struct {
	Time      time.Time     `json:"time"`
	IP        netip.Addr    `json:"ip"` // an earlier destination of the route, perhaps
	Reason    route.Reason  `json:"reason"`
	TTL       int           `json:"ttl"`
	Detail    string        `json:"detail"`
	Old       []*netip.Addr `json:"old"`
	New       []*netip.Addr `json:"new"`
	OldStatus route.Status  `json:"old_status"`
	NewStatus route.Status  `json:"new_status"`
}

// routes answers with the current path of each route.
func (a *api) routes(*http.Request) (any, error) {
	if a.Routes == nil {
		return nil, missing("routes: this exporter traces none")
	}
	return routesJSON{newRoutes(a.Routes.Current(), false)}, nil
}

// route answers with the routes of one prefix and their changes.
func (a *api) route(r *http.Request) (any, error) {
	p, err := parsePrefix(r.PathValue("prefix"))
	if err != nil {
		return nil, err
	}
	var list []route.Route
	if a.Routes != nil {
		list = a.Routes.Prefix(p)
	}
	if whole := p.Masked(); a.Routes != nil && p != whole && len(a.Routes.Prefix(whole)) > 0 {
		return nil, missing("prefix %q: is not traced by this exporter, did you mean %s?", p, whole)
	}
	if len(list) == 0 {
		return nil, missing("prefix %q: is not traced by this exporter", p)
	}
	return routesJSON{newRoutes(list, true)}, nil
}

// newRoutes converts routes, with or without the list of their changes.
func newRoutes(list []route.Route, changes bool) []routeJSON {
	all := make([]routeJSON, len(list))
	for i := range list {
		one := &list[i]
		all[i] = routeJSON{
			Prefix: one.Prefix, IP: addrJSON(one.Dst), Protocol: one.Protocol, Port: one.Port,
			Status: one.Path.Status, StatusDetail: one.Path.Detail(),
			Rounds: one.Rounds, Last: timeJSON(one.Last), Stale: one.Stale, ChangesTotal: one.ChangesTotal,
			Hops: make([]hopJSON, len(one.Hops)),
		}
		for n := range one.Hops {
			all[i].Hops[n] = newHop(&one.Hops[n], one.Dst)
		}
		if !changes {
			continue
		}
		all[i].Changes = make([]routeChangeJSON, len(one.Changes))
		for n := range one.Changes {
			all[i].Changes[n] = newRouteChange(&one.Changes[n])
		}
	}
	return all
}

func newHop(h *route.Hop, dst netip.Addr) hopJSON {
	answered := h.Answered > 0
	hop := hopJSON{
		TTL: h.TTL, Router: addrJSON(h.Router), Destination: h.Router.IsValid() && h.Router == dst,
		Labels: make([]labelJSON, len(h.Labels)),
		Sent:   h.Sent, Answered: h.Answered, Loss: h.Loss, PathLoss: h.PathLoss, RateLimited: h.RateLimited,
		Last: positive(h.Last), Best: seconds(h.Best, answered), Mean: seconds(h.Mean, answered),
		Worst: seconds(h.Worst, answered), StdDev: seconds(h.StdDev, h.Answered > 1),
	}
	for i, l := range h.Labels {
		hop.Labels[i] = labelJSON{Label: l.Value, Class: l.Class, Bottom: l.Bottom, TTL: l.TTL}
	}
	return hop
}

func newRouteChange(c *route.Change) routeChangeJSON {
	return routeChangeJSON{
		Time: c.At.UTC(), IP: c.Dst, Reason: c.Reason, TTL: c.TTL, Detail: c.String(),
		Old: addrsJSON(c.Old.Hops), New: addrsJSON(c.New.Hops),
		OldStatus: c.Old.Status, NewStatus: c.New.Status,
	}
}

// addrJSON returns nil for the zero Addr, whose text is empty.
func addrJSON(a netip.Addr) *netip.Addr {
	if !a.IsValid() {
		return nil
	}
	return &a
}

func addrsJSON(list []netip.Addr) []*netip.Addr {
	all := make([]*netip.Addr, len(list))
	for i, a := range list {
		all[i] = addrJSON(a)
	}
	return all
}

// timeJSON returns nil for the zero Time.
func timeJSON(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
