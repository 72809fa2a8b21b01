package patch

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// credential is a row of Evolution's table, as far as it is told to people; nil is NULL.
type credential struct{ id, name, key, instance *string }

// duplicates refuses to put a unique index back over rows that share a value, and lists them.
func (w *worker) duplicates(ctx context.Context, s State) error {
	var credentials []credential
	columns := []string{"id", "name", "apiKey", "instanceId"}
	if s.Table.copies(columns...) {
		b := w.begin("READ ONLY")
		b.copyOut(copySQL(s.Schema, Table, columns...), func(row []byte) error {
			v := values(row)
			credentials = append(credentials, credential{v[0], v[1], v[2], v[3]})
			return nil
		})
		b.exec("COMMIT")
		if err := w.session.send(ctx, b, w.cfg.ConnectTimeout); err != nil {
			w.rollBack()
			return fmt.Errorf("duplicates: %w", err)
		}
	}
	var groups []string
	for _, f := range w.fixes {
		switch f.Column {
		case "apiKey":
			groups = append(groups, shared(credentials, func(c credential) *string { return c.key }, maskKey)...)
		case "name":
			groups = append(groups, shared(credentials, func(c credential) *string { return c.name }, strings.Clone)...)
		}
	}
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if len(groups) > 100 {
		groups = append(groups[:100], fmt.Sprintf("and %d groups more", len(groups)-100))
	}
	table := qualified(s.Schema, Table)
	return refuse("the unique index cannot come back while credentials share a value; of each group leave one as it is, and change the others, whose instances then need a key of their own: "+
		`UPDATE %s SET "apiKey" = rtrim("apiKey") || '-' || id, name = name || '-' || id WHERE id IN ('…'); (deleting them in Evolution fails or takes their bots along). The groups: %s`,
		table, strings.Join(groups, "; "))
}

// shared describes the groups of credentials that share a value, which show makes fit to be printed.
func shared(credentials []credential, value func(credential) *string, show func(string) string) (groups []string) {
	by := map[string][]credential{}
	for _, c := range credentials {
		if v := value(c); v != nil {
			without := strings.TrimRight(*v, " ") // the padding is gone by then
			by[without] = append(by[without], c)
		}
	}
	for v, group := range by {
		if len(group) < 2 {
			continue
		}
		slices.SortFunc(group, func(a, b credential) int { return cmp.Compare(text(a.id), text(b.id)) })
		var members []string
		for _, c := range group {
			members = append(members, fmt.Sprintf("%s (name %s, instance %s)", text(c.id), text(c.name), text(c.instance)))
		}
		groups = append(groups, show(v)+" in "+strings.Join(members, ", "))
	}
	return groups
}

// text is a value for people.
func text(value *string) string {
	if value == nil {
		return ""
	}
	return *value
}

// maskKey leaves of a key what tells it from others: the last four characters, if that is not too much of it.
func maskKey(key string) string {
	if runes := []rune(key); len(runes) > 12 {
		return "…" + string(runes[len(runes)-4:])
	}
	return "…"
}
