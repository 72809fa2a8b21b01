package lab

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// indexKind is what there is on a column that Evolution ships with a unique index.
type indexKind string

const (
	uniqueIndex    indexKind = "unique"
	plainIndex     indexKind = "plain"    // under the name of Evolution's, with the comment of the program's
	unmarkedIndex  indexKind = "unmarked" // the same without a comment
	renamedIndex   indexKind = "renamed"
	plainElsewhere indexKind = "plain, renamed" // with the comment
	noIndex        indexKind = "none"
)

// forbids reports whether the index refuses a second row with the same value.
func (k indexKind) forbids() bool { return k == uniqueIndex || k == renamedIndex }

// request is what the program is asked for.
type request struct {
	key, check, name bool // the fixes
	keep             bool // PATCH_KEEP_INDEX_NAMES
}

// complete adds the fixes that come along.
func (r request) complete(revert bool) request {
	if revert {
		r.check = r.check || r.key
	} else {
		r.key = r.key || r.check
	}
	return r
}

// environ returns the variables of the request.
func (r request) environ() []string {
	var fixes []string
	for name, asked := range map[string]bool{"apikey-index": r.key, "apikey-check": r.check, "name-index": r.name} {
		if asked {
			fixes = append(fixes, name)
		}
	}
	return []string{"PATCH_FIXES=" + strings.Join(fixes, ","), fmt.Sprintf("PATCH_KEEP_INDEX_NAMES=%t", r.keep)}
}

// credential is a row of Evolution's table.
type credential struct{ name, key string }

// model is what a database should be like.
type model struct {
	table    bool
	checking bool // Evolution 2.3.0 or later
	younger  bool // than every release that the program knows
	key      indexKind
	name     indexKind
	function bool   // of the padding
	trigger  string // of the padding: "", O (enabled) or D (disabled)
	rows     map[string]credential
	guard    *request
}

// clone returns a copy that can be changed.
func (m model) clone() model {
	m.rows = maps.Clone(m.rows)
	return m
}

// String describes the model, or a database in the same form.
func (m model) String() string {
	if !m.table {
		return fmt.Sprintf("no table, guard %t", m.guard != nil)
	}
	var rows []string
	for id, r := range m.rows {
		rows = append(rows, fmt.Sprintf("%s(%s,%s)", id, r.name, r.key))
	}
	slices.Sort(rows)
	return fmt.Sprintf("younger %t, apiKey %s, name %s, function %t, trigger %q, guard %t, rows %s", m.younger, m.key, m.name, m.function, m.trigger, m.guard != nil, strings.Join(rows, " "))
}

// length is the limit of the columns.
const length = 255

// pad returns a key as the trigger stores it.
func pad(key string) string {
	if bare := strings.TrimRight(key, " "); len(bare) < length {
		return bare + " "
	}
	return key
}

// store returns a key as an INSERT stores it.
func (m model) store(key string) string {
	if m.trigger == "O" {
		return pad(key)
	}
	return key
}

// shares reports whether two credentials share a value.
func (m model) shares(value func(credential) string) bool {
	seen := map[string]bool{}
	for _, r := range m.rows {
		if seen[value(r)] {
			return true
		}
		seen[value(r)] = true
	}
	return false
}

func keyOf(c credential) string  { return c.key }
func nameOf(c credential) string { return c.name }

// register is Evolution's POST of a credential, and returns the HTTP status.
func (m *model) register(id string, c credential) int {
	stored := credential{c.name, m.store(c.key)}
	for _, r := range m.rows {
		if m.checking && r.key == c.key {
			return 400
		}
	}
	for _, r := range m.rows {
		if m.key.forbids() && r.key == stored.key || m.name.forbids() && r.name == c.name {
			return 500
		}
	}
	m.rows[id] = stored
	return 201
}

// answer is what the program should answer.
type answer struct {
	code    int
	state   string
	changed bool
}

// create is what Evolution's first migrations do, with the guard.
func (m *model) create() {
	*m = model{table: true, key: uniqueIndex, name: uniqueIndex, rows: map[string]credential{}, guard: m.guard}
	if g := m.guard; g != nil {
		m.fix(*g)
		m.guard = nil
	}
}

// fix puts the fixes in place.
func (m *model) fix(r request) {
	for index, asked := range map[*indexKind]bool{&m.key: r.key, &m.name: r.name} {
		switch {
		case asked && index.forbids() && r.keep:
			*index = plainIndex
		case asked && index.forbids():
			*index = noIndex
		case asked && r.keep && !m.younger && (*index == noIndex || *index == unmarkedIndex):
			*index = plainIndex
		}
	}
	if !r.check {
		return
	}
	m.function, m.trigger = true, "O"
	for id, c := range m.rows {
		m.rows[id] = credential{c.name, pad(c.key)}
	}
}

// apply is a run of the program.
func (m *model) apply(r request, guard bool) answer {
	r = r.complete(false)
	if !m.table {
		changed := guard && (m.guard == nil || *m.guard != r)
		if guard {
			m.guard = &r
		}
		return answer{0, m.waiting(r), changed}
	}
	before := m.String()
	m.fix(r)
	return answer{0, "patched", m.String() != before}
}

// waiting returns the state of a database without the table.
func (m model) waiting(r request) string {
	if g := m.guard; g != nil && (g.key || !r.key) && (g.check || !r.check) && (g.name || !r.name) {
		return "guarded"
	}
	return "pending"
}

// status is a run that only looks.
func (m model) status(r request) answer {
	r = r.complete(false)
	if !m.table {
		return answer{0, m.waiting(r), false}
	}
	there := m.clone()
	r.keep = false // that a name is missing counts for nothing
	if there.fix(r); there.String() != m.String() {
		return answer{5, "unpatched", false}
	}
	return answer{0, "patched", false}
}

// revert is a run that puts back what Evolution ships.
func (m *model) revert(r request) answer {
	r = r.complete(true)
	if !m.table {
		changed := m.guard != nil
		m.guard = nil
		return answer{0, "pending", changed}
	}
	after := m.clone()
	if r.check && (m.function || m.trigger != "") {
		after.function, after.trigger = false, ""
		for id, c := range m.rows {
			after.rows[id] = credential{c.name, strings.TrimRight(c.key, " ")}
		}
	}
	for index, asked := range map[*indexKind]bool{&after.key: r.key, &after.name: r.name} {
		switch {
		case asked && *index == plainElsewhere:
			*index = renamedIndex
		case asked && *index == plainIndex, asked && !index.forbids() && !m.younger:
			*index = uniqueIndex
		}
	}
	if after.key.forbids() && after.shares(keyOf) || after.name.forbids() && after.shares(nameOf) {
		return answer{3, "failed", false}
	}
	changed := after.String() != m.String()
	*m = after
	state, fixed := "unpatched", after.clone()
	if fixed.fix(request{r.key, r.check, r.name, false}); fixed.String() == after.String() { // everything was left
		state = "patched"
	}
	return answer{0, state, changed}
}
