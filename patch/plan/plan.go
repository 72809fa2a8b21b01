// Package plan decides which statements lead from the state of a schema to what is requested. It is pure: no connection, no context, no
// configuration. All DDL of the fixes is composed here, from what is known of Evolution, which stands as data in evolution.go.
package plan

import (
	"fmt"

	"evolution-openai-patch/patch/quote"
)

// Goal is the direction of a plan.
type Goal int

// The goals.
const (
	Apply  Goal = iota // the fixes are in place
	Look               // nothing changes
	Revert             // what Evolution's migrations made is back
)

// Request is what is asked of one schema.
type Request struct {
	Schema    string
	Fixes     []Fix
	Goal      Goal
	KeepNames bool // leave a plain index under the name of a dropped one
	Guard     bool // install the guard where there is no table yet
}

// Steps are statements in order, and what they do.
type Steps struct {
	SQL   []string // DDL
	Words []string // for people
}

// Plan is what leads from a State to what is requested.
type Plan struct {
	Steps                       // empty: nothing to do
	Optional  bool              // every fix holds without the steps, which only leave names that a later migration may use
	Unique    []Fix             // whose unique indexes the SQL creates, in the order of revert
	Left      []string          // what would be reverted if it were known not to be Evolution's will
	Found     map[string]string // the fix's name → what there is of it, for people
	Rows      int               // rows that the SQL changes
	Pads      bool              // the SQL changes keys or the padding
	Unguarded string            // why no guard can be installed, "" if one can or need not be
	Replaced  string            // work of the old guard → of the new one; "" if it stays the same

	later Steps // leave names that were not kept, when nothing else is to be done
}

// Make composes the DDL that fulfils the request. It is pure: the same State gives the same Plan, and for the State that a
// Plan leads to, the next Plan is empty. The error is a *RefusedError, or the lack of a right.
func Make(r Request, s State) (Plan, error) {
	p := Plan{Found: map[string]string{}}
	if s.Excess != "" {
		return p, Refuse("schema %s holds more than Evolution creates, more than 256 KiB when it came to the %s of its table", quote.Identifier(s.Schema), s.Excess)
	}
	p.guard(r, s)
	if s.Table != nil {
		if err := p.fixes(r, s); err != nil {
			return p, err
		}
	}
	e := s.ForeignEventTrigger()
	if len(p.SQL) == 0 && len(p.later.SQL) > 0 && e == nil && s.Table.Mine && !s.Standby {
		p.Steps, p.Optional = p.later, true
	}
	if e != nil && len(p.SQL) > 0 {
		return p, Refuse("event trigger %s would run a function of role %s with the rights of %s; make a superuser its owner, or disable it",
			quote.Identifier(e.Name), quote.Identifier(e.Owner), quote.Identifier(s.Role))
	}
	return p, nil
}

// fixes plans for the fixes of a request, where there is a table.
func (p *Plan) fixes(r Request, s State) error {
	switch {
	case s.Table.Kind != "r":
		return Refuse("%s is a %s, which Evolution never creates", s.QualifiedTable(), kinds[s.Table.Kind])
	case s.Table.Partition:
		return Refuse("%s is a partition of another table, which Evolution never creates", s.QualifiedTable())
	}
	for _, f := range r.Fixes {
		plan := p.index
		if f.Pad {
			plan = p.padding
		}
		if err := plan(f, r, s); err != nil {
			return err
		}
	}
	return nil
}

// say adds what the statements do, in words for the log.
func (s *Steps) say(format string, args ...any) {
	s.Words = append(s.Words, fmt.Sprintf(format, args...))
}

// add adds a statement.
func (s *Steps) add(format string, args ...any) {
	s.SQL = append(s.SQL, fmt.Sprintf(format, args...))
}

// kinds spells out pg_class.relkind (PostgreSQL documentation, pg_class).
var kinds = map[string]string{
	"r": "table", "i": "index", "S": "sequence", "v": "view", "m": "materialized view", "c": "composite type",
	"f": "foreign table", "p": "partitioned table", "I": "partitioned index",
}

// QualifiedTable returns the qualified name of Evolution's table.
func (s State) QualifiedTable() string { return quote.Qualified(s.Schema, TableName) }
