// Package netsim is a simulated internet on a TUN device in a network namespace of its own: it answers
// echo requests, connections and datagrams to a scenario's prefixes as the scenario says, across its routes,
// and knows the truth packet by packet.
//
// The engine (engine.go and what it uses) is plain computation: packets and times in, packets out. The
// driver (lab_linux.go, loop_linux.go) moves packets between the engine and a TUN device. namespace_linux.go
// puts a test binary or a command into a network namespace of its own, so that nothing of this ever touches
// the network of the machine.
//
// The packet code here shares nothing with the exporter's packet package, on purpose: a judge must not
// have the bugs of the judged.
package netsim
