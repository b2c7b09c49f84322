// gitops tells what tools that apply manifests from git make of objects: kstatus, by the library that kpt and Flux
// use, and a health check of Argo CD's, by the Lua interpreter that Argo CD runs it with and the libraries that it
// opens for it.
//
// Usage: gitops HEALTH.lua < OBJECTS, which are a JSON array. It prints an array with what it found of each.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// finding is what is made of an object.
type finding struct {
	Kstatus string `json:"kstatus"`
	Message string `json:"message"`
	Argo    string `json:"argo"`
	ArgoWhy string `json:"argoMessage"`
}

// opened are the libraries of Lua that a health check may use.
var opened = map[string]lua.LGFunction{
	lua.BaseLibName:   lua.OpenBase,
	lua.TabLibName:    lua.OpenTable,
	lua.StringLibName: lua.OpenString,
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: gitops HEALTH.lua < OBJECTS")
	}
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	var objects []map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return err
	}
	found := []finding{}
	for number, object := range objects {
		one, err := judge(object, string(script))
		if err != nil {
			return fmt.Errorf("object %d: %w", number, err)
		}
		found = append(found, one)
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func judge(object map[string]any, script string) (finding, error) {
	result, err := status.Compute(&unstructured.Unstructured{Object: whole(object).(map[string]any)})
	if err != nil {
		return finding{}, err
	}
	health, why, err := argo(object, script)
	return finding{result.Status.String(), result.Message, health, why}, err
}

// argo runs a health check within a second: it is given the object as "obj", and returns a table.
func argo(object map[string]any, script string) (string, string, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	soon, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(soon)
	for name, open := range opened {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return "", "", err
		}
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	told, isTable := state.Get(-1).(*lua.LTable)
	if !isTable {
		return "", "", fmt.Errorf("the health check returns no table")
	}
	return text(told, "status"), text(told, "message"), nil
}

// text is a text in a table; empty if there is none.
func text(table *lua.LTable, key string) string {
	if found, isText := table.RawGetString(key).(lua.LString); isText {
		return string(found)
	}
	return ""
}

// value is a JSON value as Lua has it.
func value(state *lua.LState, of any) lua.LValue {
	switch one := of.(type) {
	case string:
		return lua.LString(one)
	case float64:
		return lua.LNumber(one)
	case bool:
		return lua.LBool(one)
	case []any:
		table := state.NewTable()
		for _, item := range one {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range one {
			table.RawSetString(key, value(state, item))
		}
		return table
	}
	return lua.LNil
}

// whole is a JSON value whose numbers are whole, as the API server's client has them.
func whole(of any) any {
	switch one := of.(type) {
	case float64:
		return int64(one)
	case []any:
		found := []any{}
		for _, item := range one {
			found = append(found, whole(item))
		}
		return found
	case map[string]any:
		found := map[string]any{}
		for key, item := range one {
			found[key] = whole(item)
		}
		return found
	}
	return of
}
