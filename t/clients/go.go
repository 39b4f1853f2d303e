// SPDX-License-Identifier: BSD-3-Clause
// gomemcache: go.go CLIENT HALF PORT. The halves and what they print: ../lib/Hearth/Matrix.pm.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/bradfitz/gomemcache/memcache"
)

var c *memcache.Client

func tell(feature string, checks ...interface{}) {
	for i := 0; i < len(checks); i += 3 {
		got, expected := fmt.Sprint(checks[i+1]), fmt.Sprint(checks[i+2])
		if got != expected {
			fmt.Printf("%s\t%v: got %.80q, expected %.80q\n", feature, checks[i], got, expected)
			return
		}
	}
	fmt.Printf("%s\tok\n", feature)
}

func set(k, v string, ttl int32) error {
	return c.Set(&memcache.Item{Key: "go-" + k, Value: []byte(v), Expiration: ttl})
}

func get(k string) string {
	it, err := c.Get("go-" + k)
	if err != nil {
		return err.Error()
	}
	return string(it.Value)
}

func sameMany() bool {
	keys := []string{}
	for i := 0; i < 500; i++ {
		keys = append(keys, fmt.Sprintf("go-many%d", i))
	}
	got, err := c.GetMulti(keys)
	if err != nil || len(got) != 500 {
		return false
	}
	for i, k := range keys {
		if string(got[k].Value) != fmt.Sprintf("value %d", i) {
			return false
		}
	}
	return true
}

func store() {
	miss := memcache.ErrCacheMiss.Error()
	tell("set", "set", set("k", "v", 0), nil, "get", get("k"), "v", "miss", get("none"), miss)
	add := func(k string) error { return c.Add(&memcache.Item{Key: "go-" + k, Value: []byte("w")}) }
	tell("add", "there", add("k"), memcache.ErrNotStored, "not there", add("a"), nil)
	fmt.Println("replace\t-")
	for i := 0; i < 500; i++ {
		set(fmt.Sprintf("many%d", i), fmt.Sprintf("value %d", i), 0)
	}
	tell("many", "get", sameMany(), true)
	set("n", "10", 0)
	up, _ := c.Increment("go-n", 5)
	down, _ := c.Decrement("go-n", 7)
	tell("count", "up", up, 15, "down", down, 8)
	fmt.Println("append\t-")
	it, _ := c.Get("go-k")
	again, _ := c.Get("go-k")
	tell("cas", "once", c.CompareAndSwap(it), nil, "twice", c.CompareAndSwap(again), memcache.ErrCASConflict)
	set("t", "x", 50)
	tell("touch", "there", c.Touch("go-t", 100000), nil, "not there", c.Touch("go-none", 1), memcache.ErrCacheMiss)
	set("gone", "x", 0)
	c.Delete("go-gone")
	tell("delete", "it", get("gone"), miss)
	set("big", strings.Repeat("B", 700000), 0)
	tell("big", "get", len(get("big")), 700000)
	set("later", "x", 100)
}

func main() {
	c = memcache.New("127.0.0.1:" + os.Args[3])
	miss := memcache.ErrCacheMiss.Error()
	switch os.Args[2] {
	case "store":
		store()
	case "read":
		n, _ := c.Increment("go-n", 2)
		tell("kill -9", "get", get("k"), "v", "many", sameMany(), true, "count", n, 10, "deleted", get("gone"), miss,
			"big", len(get("big")), 700000, "later", get("later"), "x")
	default:
		tell("expiry", "later", get("later"), miss, "ever", get("k"), "v", "touched", get("t"), "x")
	}
}
