// Package guard tests the one-shot event trigger that makes the first start of Evolution right.
package guard

import (
	"os"
	"testing"

	"evolution-openai-patch/test/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
