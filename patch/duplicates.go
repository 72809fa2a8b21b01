package patch

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// duplicates refuses to put a unique index back over rows that share a value, and lists them. A key is masked to its last
// four characters; a credential is told by id, name and instance.
func (w *worker) duplicates(ctx context.Context, s State) error {
	ctx, cancel := context.WithTimeout(ctx, w.cfg.ConnectTimeout)
	defer cancel()
	var statements []statement
	for _, f := range w.cfg.Want {
		if f.Index == "" {
			continue
		}
		shown := "value"
		if f.Column == "apiKey" {
			shown = "CASE WHEN length(value) > 12 THEN '…' || right(value, 4) ELSE '…' END"
		}
		statements = append(statements, statement{sql: fmt.Sprintf(`SELECT pg_catalog.json_agg(line)::text FROM (
			SELECT %s || ' in ' || pg_catalog.string_agg(pg_catalog.format('%%s (name %%s, instance %%s)', c ->> 'id', c ->> 'name', c ->> 'instanceId'), ', ' ORDER BY c ->> 'id') AS line
			FROM (SELECT pg_catalog.rtrim(%s, ' ') AS value, pg_catalog.to_jsonb(t) AS c FROM %s AS t) AS rows
			WHERE value IS NOT NULL GROUP BY value HAVING pg_catalog.count(*) > 1 ORDER BY value LIMIT 100) AS groups`,
			shown, quote(f.Column), qualified(s.Schema, Table))})
	}
	values, err := exchange(ctx, w.conn, statements...)
	if err != nil {
		return fmt.Errorf("duplicates: %w", err)
	}
	var groups []string
	for _, v := range values {
		var lines []string
		if v != nil {
			if err := json.Unmarshal(v, &lines); err != nil {
				return fmt.Errorf("duplicates: %w", err)
			}
		}
		groups = append(groups, lines...)
	}
	return refuse("the unique index cannot come back while credentials share a value; delete or change all but one of each group: %s",
		strings.Join(groups, "; "))
}
