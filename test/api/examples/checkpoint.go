// Checkpoints a process and brings it back, with go-criu. Documentation/rpc.md goes through it.
//
// usage: checkpoint CRIU FOLDER PID
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/checkpoint-restore/go-criu"
	"github.com/checkpoint-restore/go-criu/rpc"
	"google.golang.org/protobuf/proto"
)

// listener is told of everything that happens; an error from it makes the request fail.
type listener struct{ criu.NoNotify }

func (listener) PreDump() error                { fmt.Println("pre-dump"); return nil }
func (listener) PostDump() error               { fmt.Println("post-dump"); return nil }
func (listener) PreRestore() error             { fmt.Println("pre-restore"); return nil }
func (listener) PostRestore(pid int32) error   { fmt.Println("post-restore", pid); return nil }

func must(what string, err error) {
	if err != nil {
		log.Fatalf("%s: %v", what, err)
	}
}

func main() {
	client := criu.MakeCriu()
	client.SetCriuPath(os.Args[1])
	folder, err := os.Open(os.Args[2])
	must("folder", err)
	pid, err := strconv.Atoi(os.Args[3])
	must("pid", err)

	version, err := client.GetCriuVersion()
	must("version", err)
	fmt.Println("version", version)
	_, err = client.FeatureCheck(&rpc.CriuFeatures{MemTrack: proto.Bool(true)})
	must("features", err)

	must("dump", client.Dump(&rpc.CriuOpts{
		Pid:         proto.Int32(int32(pid)),
		ImagesDirFd: proto.Int32(int32(folder.Fd())),
		LogLevel:    proto.Int32(4),
		LogFile:     proto.String("dump.log"),
	}, listener{}))
	must("restore", client.Restore(&rpc.CriuOpts{
		ImagesDirFd: proto.Int32(int32(folder.Fd())),
		LogLevel:    proto.Int32(4),
		LogFile:     proto.String("restore.log"),
	}, listener{}))
	fmt.Println("done")
}
