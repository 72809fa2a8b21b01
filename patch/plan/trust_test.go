package plan

import (
	"errors"
	"strings"
	"testing"
)

// state returns a table with its shipped index, the padding and one padded key, after some changes. The role that is connected
// does not own it.
func state(changes ...func(*State)) State {
	s := padded(&padTrigger, &ownFunction, Keys{Spaced: 1}, shipped)
	s.Role, s.Table.Owner, s.Table.OID = "postgres", "evo", "9"
	for _, change := range changes {
		change(&s)
	}
	return s
}

// index returns a change that adds an index of this name on the key, which change makes another.
func index(name string, change func(*Index)) func(*State) {
	return func(s *State) {
		x := with(unique(name), change)
		x.OID, x.Definition = "77", x.Definition+" of "+name
		s.Relations = append(s.Relations, Relation{OID: x.OID, Name: name, Kind: "i"})
		s.Table.Indexes = append(s.Table.Indexes, &x)
	}
}

// column returns a change to the column of the keys.
func column(change func(*Column)) func(*State) {
	return func(s *State) { change(s.Table.Column("apiKey")) }
}

// trigger returns a change that adds an enabled trigger of this type.
func trigger(name string, kind int, enabled string) func(*State) {
	return func(s *State) { s.Triggers = append(s.Triggers, Trigger{Name: name, Type: kind, Enabled: enabled}) }
}

const beforeInsert, beforeUpdate = triggerRow | triggerBefore | triggerInsert, triggerRow | triggerBefore | triggerUpdate

// bare makes the one key lack its space.
func bare(s *State) { *s.Keys = Keys{Bare: 1} }

// asOwner connects as the owner of the table.
func asOwner(s *State) { s.Role = s.Table.Owner }

// check returns a change that adds a CHECK constraint to the column of the keys.
func check(validated bool) func(*State) {
	return func(s *State) {
		s.Checks = []Constraint{{Name: "tight", Columns: []int{3}, Definition: "CHECK (…)", Validated: validated}}
	}
}

// listed adds a foreign key of the keys.
func listed(validated bool) func(*State) {
	return func(s *State) {
		s.ForeignKeys = []Constraint{{Name: "listed", Table: "t", Relation: s.Table.OID, Columns: []int{3}, Validated: validated}}
	}
}

// foreignCode adds a trigger whose function belongs to owner.
func foreignCode(owner string) func(*State) {
	return func(s *State) { s.Code = []Code{{Name: "trigger a", Calls: "function f", Owner: owner}} }
}

// eventTrigger adds an event trigger for a superuser who is connected.
func eventTrigger(trusted bool) func(*State) {
	return func(s *State) {
		s.Superuser, s.EventTriggers = true, []EventTrigger{{Name: "e", Owner: "mallory", Trusted: trusted}}
	}
}

// computed adds a column that is generated from the keys.
func computed(s *State) {
	s.Table.Columns = append(s.Table.Columns, Column{Name: "hidden", Number: 4, Generated: true, Computed: true})
}

// refusals are states in which a fix is refused, or is not.
var refusals = map[string]struct {
	fix  Fix
	s    State
	want string // of the refusal; "" for none
}{
	"index":                  {Fixes[0], state(), ""},
	"view":                   {Fixes[0], state(func(s *State) { s.Table.Kind = "v" }), "is a view"},
	"partition":              {Fixes[0], state(func(s *State) { s.Table.Partition = true }), "is a partition"},
	"no column":              {Fixes[0], state(func(s *State) { s.Table.Columns = s.Table.Columns[:2] }), `has no column "apiKey"`},
	"primary key":            {Fixes[0], state(index("p", func(x *Index) { x.Primary = true })), "is the primary key"},
	"primary key of another": {Fixes[0], state(index("p", func(x *Index) { x.Primary, x.Key = true, "id" })), ""},
	"replica identity":       {Fixes[0], state(index("r", func(x *Index) { x.Identity = true })), "is the replica identity"},
	"identity, of another":   {Fixes[0], state(index("r", func(x *Index) { x.Identity, x.Key = true, "id" })), ""},
	"expression":             {Fixes[0], state(index("e", func(x *Index) { x.Expressions, x.Key = true, `lower("apiKey")` })), "somebody made it on purpose"},
	"partial":                {Fixes[0], state(index("w", func(x *Index) { x.Partial = true })), "somebody made it on purpose"},
	"partial, not unique":    {Fixes[0], state(index("w", func(x *Index) { x.Partial, x.Unique = true, false })), ""},
	"partial, name of ours":  {Fixes[0], table(with(plainIndex, func(x *Index) { x.Partial = true })), "it is something else"},
	"partial, multiplying": {Fixes[0], state(index("w", func(x *Index) {
		x.Partial, x.Key, x.Definition = true, "id", "… (id) WHERE ((n * 2) > 3)"
	})), ""},
	"partial, of another":      {Fixes[0], state(index("w", func(x *Index) { x.Partial, x.Key = true, "name" })), ""},
	"exclusion":                {Fixes[0], state(index("x", excludes(`EXCLUDE ("apiKey" WITH =)`))), "the exclusion constraint"},
	"exclusion of another":     {Fixes[0], state(index("x", excludes("EXCLUDE (name WITH =)"))), ""},
	"with an expression":       {Fixes[0], state(index("m", several(`("apiKey", (1))`, 3, 0))), "may forbid a second row"},
	"with another column":      {Fixes[0], state(index("m", several(`("apiKey", name)`, 3, 2))), ""},
	"with another, not unique": {Fixes[0], state(index("m", func(x *Index) { several(`("apiKey", (1))`, 3, 0)(x); x.Unique = false })), ""},
	"of the whole row":         {Fixes[0], state(index("h", func(x *Index) { several(`(hash("OpenaiCreds".*))`, 0)(x); x.Keys, x.Key = 1, "h" })), "may forbid a second row"},
	"of something else":        {Fixes[0], state(index("h", func(x *Index) { several(`(hash(id))`, 0)(x); x.Keys, x.Key = 1, "h" })), ""},
	"needed":                   {Fixes[0], state(index("n", func(x *Index) { x.Constraints = needed.Constraints })), "is needed by foreign key"},
	"needed, of another":       {Fixes[0], state(index("n", func(x *Index) { x.Key, x.Constraints = "id", needed.Constraints })), ""},
	"name of ours, elsewhere":  {Fixes[2], state(index("OpenaiCreds_name_key", func(x *Index) { x.Unique = false })), "it is something else"},
	"name of ours, as a table": {Fixes[2], state(func(s *State) {
		s.Relations = append(s.Relations, Relation{OID: "5", Name: "OpenaiCreds_name_key", Kind: "r"})
	}), "a table"},
	"name of another, as table": {Fixes[2], state(func(s *State) { s.Relations = append(s.Relations, Relation{OID: "5", Name: "x", Kind: "r"}) }), ""},

	"too much":         {Fixes[2], state(func(s *State) { s.Excess = "triggers" }), "the triggers of its table"},
	"long definition":  {Fixes[0], state(index("l", func(x *Index) { x.Key, x.Definition = "id", strings.Repeat("x", 4001) })), "is longer than 4000 characters"},
	"long enough":      {Fixes[0], state(index("l", func(x *Index) { x.Key, x.Definition = "id", strings.Repeat("x", 3000) })), ""},
	"long, not unique": {Fixes[0], state(index("l", func(x *Index) { x.Key, x.Unique, x.Definition = "id", false, strings.Repeat("x", 4001) })), ""},

	"padding": {Fixes[1], state(), ""},
	"function of another": {Fixes[1], state(func(s *State) {
		s.Function = changed(*s.Function, func(f *Function) { f.Trusted, f.Owner = false, "eve" })
	}), `belongs to role "eve"`},
	"function of another kind":    {Fixes[1], state(func(s *State) { s.Function = changed(*s.Function, func(f *Function) { f.Exact = false }) }), "is not as this program creates it"},
	"long key":                    {Fixes[1], state(func(s *State) { s.Keys.Long = []byte("c1") }), "credential c1"},
	"long key of a long id":       {Fixes[1], state(func(s *State) { s.Keys.Long = make([]byte, MaxID) }), "SELECT ctid"},
	"trigger of another function": {Fixes[1], state(func(s *State) { s.Triggers[0].Function = "2" }), "trigger"},
	"trigger with a condition":    {Fixes[1], state(func(s *State) { s.Triggers[0].Plain = false }), "trigger"},
	"trigger for inserts alone":   {Fixes[1], state(func(s *State) { s.Triggers[0].Type = beforeInsert }), "trigger"},
	"number":                      {Fixes[1], state(column(func(c *Column) { c.Text, c.Type = false, "integer" })), "is of type integer"},
	"no column for keys":          {Fixes[1], state(func(s *State) { s.Table.Columns = s.Table.Columns[:2] }), `has no column "apiKey"`},
	"generated":                   {Fixes[1], state(column(func(c *Column) { c.Generated = true })), "is generated"},
	"nondeterministic":            {Fixes[1], state(column(func(c *Column) { c.Equates = true })), "nondeterministic"},
	"children":                    {Fixes[1], state(func(s *State) { s.Children = []Named{{"heir"}} }), "heir"},
	"row security":                {Fixes[1], state(func(s *State) { s.Table.Hidden = true }), "row security"},
	"unreadable":                  {Fixes[1], state(func(s *State) { s.Keys = nil }), "may not read"},
	"check, proven":               {Fixes[1], state(check(true)), ""},
	"check, not validated":        {Fixes[1], state(check(false)), ""},
	"check, no key":               {Fixes[1], state(check(true), func(s *State) { *s.Keys = Keys{} }), ""},
	"foreign key, no key":         {Fixes[1], state(listed(true), func(s *State) { *s.Keys = Keys{} }), `foreign key "listed" of table t`},
	"foreign key, proven":         {Fixes[1], state(listed(true)), ""},
	"foreign key, not validated":  {Fixes[1], state(listed(false)), `foreign key "listed" of table t`},
	"foreign key, keys to pad":    {Fixes[1], state(listed(false), bare), ""},
	"check, keys to pad":          {Fixes[1], state(check(false), bare, asOwner), ""},
	"check of another column":     {Fixes[1], state(check(false), func(s *State) { s.Checks[0].Columns = []int{2} }), ""},
	"replica":                     {Fixes[1], state(func(s *State) { s.Replica = true }), "session_replication_role is replica for this session"},
	"replica, owner":              {Fixes[1], state(func(s *State) { s.ReplicaSettings = []ReplicaSetting{{Name: `role "evo"`, Role: "evo"}} }), `for role "evo"`},
	"replica, connected":          {Fixes[1], state(func(s *State) { s.ReplicaSettings = []ReplicaSetting{{Name: "the database", Connected: true}} }), "for the database"},
	"replica, somebody":           {Fixes[1], state(func(s *State) { s.ReplicaSettings = []ReplicaSetting{{Name: `role "x"`, Role: "x"}} }), ""},
	"replica, keys to pad":        {Fixes[1], state(bare, func(s *State) { s.Replica = true }), "session_replication_role is replica for this session"},
	"trigger after ours":          {Fixes[1], state(trigger("f", beforeInsert, "O")), `runs after the padding`},
	"trigger on both":             {Fixes[1], state(trigger("f", beforeInsert|triggerUpdate, "O")), ""},
	"trigger on other updates":    {Fixes[1], state(trigger("f", beforeInsert|triggerUpdate, "O"), func(s *State) { s.Triggers[1].Columns = []int{2} }), `runs after the padding`},
	"trigger on the key":          {Fixes[1], state(trigger("f", beforeInsert|triggerUpdate, "O"), func(s *State) { s.Triggers[1].Columns = []int{2, 3} }), ""},
	"replica, left":               {Fixes[1], state(func(s *State) { s.Replica, s.ReplicaLeft, s.Superuser = true, true, true }), ""},
	"replica, left to another":    {Fixes[1], state(func(s *State) { s.Replica, s.ReplicaLeft = true, true }), "session_replication_role is replica for this session"},
	"trigger before ours":         {Fixes[1], state(trigger("a", beforeInsert, "O")), ""},
	"trigger after ours, off":     {Fixes[1], state(trigger("f", beforeInsert, "D")), ""},
	"trigger after the row":       {Fixes[1], state(trigger("f", triggerRow|triggerInsert, "O")), ""},

	"bare keys":                 {Fixes[1], state(bare), ""},
	"event trigger":             {Fixes[0], state(eventTrigger(false)), `event trigger "e" would run a function of role "mallory"`},
	"event trigger, trusted":    {Fixes[0], state(eventTrigger(true)), ""},
	"event trigger, at rest":    {Fixes[0], state(eventTrigger(false), func(s *State) { s.Table.Indexes, s.Relations = nil, nil }), ""},
	"event trigger, not for us": {Fixes[0], state(eventTrigger(false), func(s *State) { s.Superuser = false }), ""},
	"computed":                  {Fixes[0], state(index("g", func(x *Index) { x.Key, x.Columns = "hidden", []int{4} }), computed), "is on a column that is generated"},
	"computed, with another":    {Fixes[0], state(index("g", func(x *Index) { x.Key, x.Keys, x.Columns = "hidden", 2, []int{4, 2} }), computed), ""},
	"computed, not unique":      {Fixes[0], state(index("g", func(x *Index) { x.Key, x.Columns, x.Unique = "hidden", []int{4}, false }), computed), ""},
}

// Code that another role decides is refused where keys change, and named.
func TestCheckCode(t *testing.T) {
	for title, c := range map[string]struct {
		s    State
		want string
	}{
		"nothing":       {state(), ""},
		"code":          {state(foreignCode("mallory")), `trigger a calls function f, owned by "mallory"; drop it, make "postgres" or a superuser its owner, or connect as "evo"`},
		"to the owner":  {state(asOwner, foreignCode("mallory")), `make "evo" or a superuser its owner`},
		"volatile code": {state(foreignCode("")), "trigger a calls function f, which is not immutable"},
		"rule":          {state(func(s *State) { s.Code = []Code{{Name: "rule r", Owner: "evo"}} }), `rule r, owned by "evo"; drop it`},
		"cascade":       {state(func(s *State) { s.ForeignKeys = []Constraint{{Name: "k", Table: "t", Referred: "9", Follows: true}} }), `foreign key "k" of table t follows`},
		"foreign key":   {state(func(s *State) { s.ForeignKeys = []Constraint{{Name: "k", Table: "t", Referred: "9"}} }), ""},
	} {
		if err := CheckCode(c.s); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", title, err, c.want)
		}
	}
}

// Whatever is not as Evolution or this program creates it is refused, and the refusal names it.
func TestRefusals(t *testing.T) {
	for title, c := range refusals {
		_, err := Make(Request{Schema: "s", Fixes: []Fix{c.fix}}, c.s)
		var refusal *RefusedError
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", title, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %q", title, err, c.want)
		case c.want != "" && !errors.As(err, &refusal) && c.s.Keys != nil:
			t.Errorf("%s: %v is not a refusal", title, err)
		}
	}
}

// changed returns a pointer to a copy that change has changed.
func changed[T any](value T, change func(*T)) *T {
	value = with(value, change)
	return &value
}

// excludes makes an index implement an exclusion constraint.
func excludes(definition string) func(*Index) {
	return func(x *Index) {
		x.Unique, x.Key, x.Definition = false, "c", definition
		x.Constraints = []Constraint{{Name: "x", Type: "x", Definition: definition}}
	}
}

// several makes an index one of several keys, of these column numbers, 0 for an expression.
func several(definition string, columns ...int) func(*Index) {
	return func(x *Index) {
		x.Keys, x.Columns, x.Definition, x.Expressions = len(columns), columns, definition, true
	}
}

// What may forbid the space or take it away is no obstacle to reverting, but code of the owner's is.
func TestRevertOfPadding(t *testing.T) {
	replica := func(s *State) { s.Replica = true }
	for title, c := range map[string]struct {
		s    State
		want string
	}{
		"as created":           {state(), ""},
		"replica":              {state(replica), ""},
		"nothing there":        {table(shipped), ""},
		"nothing, and a check": {with(table(shipped), check(false)), ""},
		"a check":              {state(check(false)), ""},
		"number":               {state(column(func(c *Column) { c.Text = false })), "is of type"},
	} {
		p, err := Make(Request{Schema: "s", Fixes: Fixes[1:2], Goal: Revert}, c.s)
		if c.want == "" && (err != nil || p.Pads != c.s.Padded()) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, pads: %t, want %q", title, err, p.Pads, c.want)
		}
	}
}

// A function that others call is not dropped.
func TestFunctionInUse(t *testing.T) {
	s := state(func(s *State) {
		s.Function = changed(*s.Function, func(f *Function) { f.Users = []string{"trigger x on table y"} })
	})
	_, err := Make(Request{Schema: "s", Fixes: Fixes[1:2], Goal: Revert}, s)
	if err == nil || !strings.Contains(err.Error(), "is used by others: trigger x on table y") {
		t.Error(err)
	}
	if _, err := Make(Request{Schema: "s", Fixes: Fixes[1:2]}, s); err != nil {
		t.Error(err)
	}
}

// What may have undone a change is named: triggers of others that fire, and rules.
func TestSuspects(t *testing.T) {
	if found := Suspects(state()); found != "" {
		t.Errorf("nothing is suspect, but %q is named", found)
	}
	s := state(trigger("on", beforeUpdate, "O"), trigger("always", beforeUpdate, "A"), trigger("off", beforeUpdate, "D"), func(s *State) { s.Rules = []Named{{"r"}} })
	if found, want := Suspects(s), `; what may have undone it: trigger "on", trigger "always", rule "r"`; found != want {
		t.Errorf("%s, want %s", found, want)
	}
}
