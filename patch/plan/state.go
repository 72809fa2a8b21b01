package plan

import (
	"fmt"
	"slices"

	"evolution-openai-patch/patch/quote"
)

// State is what the database says of one schema at one moment.
type State struct {
	Session
	Schema        string
	Relations     []Relation // whatever has a name that matters here
	Table         *Relation  // Evolution's, nil if there is none
	List          *Relation  // Prisma's list of migrations, nil if there is none
	Checks        []Constraint
	ForeignKeys   []Constraint // that the column of the keys is part of
	Triggers      []Trigger
	Function      *Function // of our name, nil if there is none or the padding does not matter
	Code          []Code    // of other roles, that may run when a key changes; read only where keys may change
	Rules         []Named
	Children      []Named        // tables that inherit
	Grantees      []Named        // who get rights on what the role creates by default privileges; read only where something may be created
	Guard         *Guard         // nil if there is nothing of one
	EventTriggers []EventTrigger // of others
	Migrations    Migrations
	Keys          *Keys   // nil if they were not read
	Elsewhere     []Named // other schemas that hold the table; read only where this one does not
	Strangers     []Named // a relation of the schema that is no extension's; read only where a guard may be installed
	Excess        string  // of which the catalog holds more than is read, "" for nothing

	ReplicaSettings []ReplicaSetting
}

// Session is what matters of the session.
type Session struct {
	Role      string `json:"role"` // that is connected
	Superuser bool   `json:"superuser"`
	Standby   bool   `json:"standby"`
	Replica   bool   `json:"replica"`   // no ordinary trigger fires
	Migrating bool   `json:"migrating"` // somebody holds Prisma's migration lock

	ReplicaLeft bool `json:"replica_left"` // somebody set Replica in this session, which a pooler gives to others
}

// Named is something of which only the name matters.
type Named struct {
	Name string `json:"name"`
}

// Code is something attached to the table that executes what another role, which is no superuser, decides.
type Code struct {
	Name  string `json:"name"`  // as PostgreSQL describes it, such as: trigger t on table x
	Calls string `json:"calls"` // the same of the function, operator or type, "" for a rule of the table's owner
	Owner string `json:"owner"` // the role, "" where who wrote it is not known and what it calls is not immutable
}

// String describes it for a message.
func (c Code) String() string {
	switch {
	case c.Calls == "":
		return fmt.Sprintf("%s, owned by %s", c.Name, quote.Identifier(c.Owner))
	case c.Owner == "":
		return fmt.Sprintf("%s calls %s, which is not immutable", c.Name, c.Calls)
	}
	return fmt.Sprintf("%s calls %s, owned by %s", c.Name, c.Calls, quote.Identifier(c.Owner))
}

// EventTrigger is one that may fire in a change of this program.
type EventTrigger struct {
	Name    string `json:"name"`
	Owner   string `json:"owner"`   // of its function
	Trusted bool   `json:"trusted"` // that is a superuser or the role that is connected
	Fragile bool   `json:"fragile"` // a guard may make it fail, and a migration with it
	Taken   bool   `json:"taken"`   // it has the name of a guard, and there is no schema of that name
}

// ElsewhereNames returns the names of other schemas that hold the table.
func (s State) ElsewhereNames() []string { return names(s.Elsewhere) }

// names returns the names.
func names(list []Named) (names []string) {
	for _, n := range list {
		names = append(names, n.Name)
	}
	return names
}

// ReplicaSetting says for whom session_replication_role is set to replica.
type ReplicaSetting struct {
	Name      string `json:"name"` // for a message
	Role      string `json:"role"`
	Connected bool   `json:"connected"` // it applies to the role that has logged in
}

// replicaPlaces names where session_replication_role is replica, so that no ordinary trigger fires, for the roles as which Evolution
// may connect: the one that is connected and the owner of the table.
func (s State) replicaPlaces() (places []string) {
	for _, r := range s.ReplicaSettings {
		if r.Connected || r.Role == s.Table.Owner {
			places = append(places, r.Name)
		}
	}
	if s.Replica && !s.LeavesReplica() {
		places = append(places, "this session")
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// LeavesReplica reports whether a change can set session_replication_role to origin for its own transaction, because the setting was
// left in a session that a pooler gives to others.
func (s State) LeavesReplica() bool { return s.Superuser && s.ReplicaLeft }

// Lacks reports whether nothing unique is left on the column of a fix.
func (s State) Lacks(f Fix) bool {
	return s.Table != nil && s.Table.Column(f.Column) != nil &&
		!slices.ContainsFunc(s.Table.Indexes, func(x *Index) bool { return x.Unique && x.Covers(f.Column) })
}

// notYet reports whether Evolution's migrations have not yet created the column of a fix.
func (s State) notYet(f Fix) bool {
	return s.Table != nil && s.Table.Column(f.Column) == nil && s.Migrations.Last != "" && s.Migrations.Last < f.Since
}

// Trigger describes one trigger of the table.
type Trigger struct {
	Name       string `json:"name"`
	Definition string `json:"definition"`
	Function   string `json:"function"` // its OID
	Type       int    `json:"type"`     // pg_trigger.tgtype
	Columns    []int  `json:"columns"`  // of UPDATE OF, by their numbers
	Enabled    string `json:"enabled"`  // pg_trigger.tgenabled
	Plain      bool   `json:"plain"`    // no WHEN, no column list, no arguments, no transition tables
}

// Bits of pg_trigger.tgtype (PostgreSQL source, src/include/catalog/pg_trigger.h).
const (
	triggerRow    = 1
	triggerBefore = 2
	triggerInsert = 4
	triggerUpdate = 16
)

// mayStrip reports whether the trigger may remove the space that the padding has added: it fires before each row is stored, and after
// the padding, because triggers fire in the order of their names.
func (t Trigger) mayStrip() bool {
	return t.Name > ObjectName && t.Type&triggerRow != 0 && t.Type&triggerBefore != 0 && t.Enabled != "D"
}

// firesOn reports whether the trigger fires when the column with this number is updated.
func (t Trigger) firesOn(column int) bool {
	return t.Type&triggerUpdate != 0 && (len(t.Columns) == 0 || slices.Contains(t.Columns, column))
}

// fires reports whether the trigger is enabled for ordinary sessions.
func (t Trigger) fires() bool { return t.Enabled == "O" || t.Enabled == "A" }

// PadTrigger returns the trigger of our name, nil if there is none.
func (s State) PadTrigger() *Trigger {
	return find(s.Triggers, func(t Trigger) bool { return t.Name == ObjectName })
}

// isPadded reports whether there is anything of the padding that revert would undo.
func (s State) isPadded() bool { return s.Function != nil || s.PadTrigger() != nil }

// Pads reports whether the padding trigger is there and enabled.
func (s State) Pads() bool { return s.PadTrigger() != nil && s.PadTrigger().fires() }

// Function describes the function of our name in the schema.
type Function struct {
	OID     string `json:"oid"`
	Owner   string `json:"owner"`
	Exact   bool   `json:"exact"`   // its body, its settings and its kind are those that the program creates
	Trusted bool   `json:"trusted"` // its owner can do whatever the table's owner can

	Users []string `json:"users"` // triggers of others that call it; read only where the function may be dropped
}

// Keys counts the stored keys.
type Keys struct {
	Bare   int `json:"bare"`   // could end in exactly one space, and do not
	Spaced int `json:"spaced"` // end in one or more spaces
	Full   int `json:"full"`   // are so long that no space fits at their end

	Repeated   int    `json:"-"` // credentials that repeat a key of their own instance; 0 if there are too many keys to compare
	RepeatedIn string `json:"-"` // one such instance, by its id, cut

	Long []byte `json:"-"` // the beginning of the id of a credential whose key is longer than maxKey, nil if there is none
}

// Migrations is what Prisma's list says. It is zero if the list cannot be read.
type Migrations struct {
	Last       string   // time stamp of the last one that is finished
	Listed     bool     // there is at least one
	Evolutions bool     // Evolution's first is one of them
	Unfinished int      // begun, neither finished nor rolled back
	Names      []string // of the first MaxNames of these, each cut
}

// MaxNames is the most unfinished migrations that are named.
const MaxNames = 3
