// Package fleet tests runs over many databases, schemas and servers.
package fleet

import (
	"os"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
