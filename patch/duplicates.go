package patch

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"evolution-openai-patch/patch/postgres"
)

// duplicates returns the refusal to create the unique indexes of fixes over rows that share a value. It lists the rows, and
// holds the SQL that makes the values differ.
func duplicates(fixes []Fix, auto bool, s State, credentials []*credential) *RefusedError {
	var groups []string
	for _, f := range fixes {
		switch f.Column {
		case "apiKey":
			groups = append(groups, shared(credentials, revertedKey(s), maskKey)...)
		case "name":
			groups = append(groups, shared(credentials, func(c *credential) *string { return c.name }, strings.Clone)...)
		}
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if more := len(groups) - maxGroups; more > 0 {
		groups = append(groups[:maxGroups], fmt.Sprintf("and %d groups more", more))
	}
	hint := ""
	if auto && contains(fixes, "name-index") {
		hint = "; if the index on the name was gone before this program ran, set PATCH_FIXES to the other fixes"
	}
	listed := "" // if the rows could not be read
	if len(groups) > 0 {
		listed = ". The groups: " + strings.Join(groups, "; ")
	}
	return &RefusedError{
		reason: "the unique index cannot come back while credentials share a value; the remedy changes all but the first of each group, whose instances then need a key of their own (deleting them in Evolution fails or takes their bots along)" +
			hint + listed,
		remedy: separate(fixes, s),
	}
}

// maxGroups is the largest number of groups that are listed.
const maxGroups = 100

// revertedKey returns a function that returns the key of a credential as revert leaves it.
func revertedKey(s State) func(*credential) *string {
	padded, kept := s.padded(), s.Function.spaces()
	return func(c *credential) *string {
		if c.key == nil || !padded {
			return c.key
		}
		key := strings.TrimRight(*c.key, " ") + strings.Repeat(" ", kept[text(c.id)])
		return &key
	}
}

// separate returns the SQL that makes the values of the columns of these fixes differ: of each group of credentials that
// share one, all but the first get their id at the end, cut to what the column takes.
func separate(fixes []Fix, s State) string {
	var updates []string
	for _, column := range []string{"apiKey", "name"} {
		c := s.Table.column(column)
		if c == nil || !slices.ContainsFunc(fixes, func(f Fix) bool { return f.Column == column }) {
			continue
		}
		group := postgres.Identifier(column)
		value := "t." + group
		if column == "apiKey" && s.padded() { // as in revertedKey
			value, group = fmt.Sprintf("rtrim(%s, ' ')", value), fmt.Sprintf("rtrim(%s, ' ')", group)
			if kept := s.Function.spaces(); len(kept) > 0 {
				group += ", CASE id"
				for _, id := range slices.Sorted(maps.Keys(kept)) {
					group += fmt.Sprintf(" WHEN %s THEN %d", postgres.Literal(id), kept[id])
				}
				group += " END"
			}
		}
		if c.Limit != 0 { // two characters less: the hyphen, and the space of the padding
			value = fmt.Sprintf("left(%s, %d - length(t.id))", value, c.Limit-2)
		}
		updates = append(updates, fmt.Sprintf(`UPDATE %[1]s AS t SET %[2]s = %[3]s || '-' || t.id FROM (SELECT id, row_number() OVER (PARTITION BY %[4]s ORDER BY id COLLATE "C") AS n FROM %[1]s WHERE %[2]s IS NOT NULL) AS d WHERE d.id = t.id AND d.n > 1;`,
			s.table(), postgres.Identifier(column), value, group))
	}
	return strings.Join(updates, " ")
}

// shared describes the groups of credentials that share a value. show returns as much of the value as may be printed.
func shared(credentials []*credential, value func(*credential) *string, show func(string) string) (groups []string) {
	by := map[string][]*credential{}
	for _, c := range credentials {
		if v := value(c); v != nil {
			by[*v] = append(by[*v], c)
		}
	}
	for v, group := range by {
		if len(group) < 2 {
			continue
		}
		slices.SortFunc(group, func(a, b *credential) int { return cmp.Compare(text(a.id), text(b.id)) })
		var members []string
		for _, c := range group {
			members = append(members, fmt.Sprintf("%s (name %s, instance %s)", text(c.id), text(c.name), text(c.instance)))
		}
		groups = append(groups, show(v)+" in "+strings.Join(members, ", "))
	}
	return groups
}

// maskKey returns the last four characters of a key, which tell it from others, if that is not too much of it.
func maskKey(key string) string {
	if runes := []rune(strings.TrimRight(key, " ")); len(runes) > 12 {
		return "…" + string(runes[len(runes)-4:])
	}
	return "…"
}
