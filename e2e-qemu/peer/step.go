package main

import (
	"encoding/json"
)

// Step is one entry of the script: a call, or something done beside it.
type Step struct {
	// ID names the step in the results; a step without results needs none.
	ID string `json:"id"`
	// Call is the RPC, and Request its message in protobuf's JSON form.
	Call    string          `json:"call"`
	Request json.RawMessage `json:"request"`
	// Do is what another program on the node does: "lvm" runs Args and must succeed,
	// "repair" runs them and may fail, "wait" runs them until they print nothing,
	// "show" runs them and records what they print, "open" holds Path open until "close".
	Do   string   `json:"do"`
	Args []string `json:"args"`
	Path string   `json:"path"`
}

// Result is what a step gave.
type Result struct {
	ID       string          `json:"id"`
	Call     string          `json:"call,omitempty"`
	Code     string          `json:"code,omitempty"`
	Message  string          `json:"message,omitempty"`
	Response json.RawMessage `json:"response,omitempty"`
	// Shown are the lines a "show" printed.
	Shown []string `json:"shown,omitempty"`
}
