package patch

import (
	"context"
	"fmt"

	"evolution-openai-patch/patch/postgres"
)

// credential is what is printed of a row of Evolution's table. A nil value is NULL.
type credential struct{ id, name, key, instance *string }

// text returns a value, "" for NULL.
func text(value *string) string {
	if value == nil {
		return ""
	}
	return *value
}

// credentials reads all of them, none where not every row can be read.
func (c *change) credentials(ctx context.Context) (all []*credential, err error) {
	columns, s := []string{"id", "name", "apiKey", "instanceId"}, c.before
	if !s.Table.canCopy(columns...) {
		return nil, nil
	}
	b := c.conn.Begin("READ ONLY", c.cfg.limits())
	b.Rows(postgres.CopyTo(s.Schema, tableName, columns...), func(row []byte) error {
		v := postgres.CopyValues(row)
		all = append(all, &credential{v[0], v[1], v[2], v[3]})
		return nil
	})
	b.Exec("COMMIT")
	if err := c.conn.Send(ctx, b, c.cfg.ConnectTimeout.Duration); err != nil {
		c.conn.RollBack()
		return nil, fmt.Errorf("read the credentials that share a value: %w", err)
	}
	return all, nil
}
