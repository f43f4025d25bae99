package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/topolvm/topolvm/pkg/lvmd/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	protobuf "google.golang.org/protobuf/proto"
)

// client is upstream's own, for each service lvmd has.
type client struct {
	lv     proto.LVServiceClient
	vg     proto.VGServiceClient
	health grpc_health_v1.HealthClient
}

func newClient(conn *grpc.ClientConn) client {
	return client{
		lv:     proto.NewLVServiceClient(conn),
		vg:     proto.NewVGServiceClient(conn),
		health: grpc_health_v1.NewHealthClient(conn),
	}
}

// call makes one call. Being refused is a result; what is wrong with the script, or an
// lvmd that does not answer, is an error.
func (c client) call(ctx context.Context, step Step) (*Result, error) {
	switch step.Call {
	case "CreateLV":
		return ask(ctx, step, &proto.CreateLVRequest{}, c.lv.CreateLV)
	case "RemoveLV":
		return ask(ctx, step, &proto.RemoveLVRequest{}, c.lv.RemoveLV)
	case "ResizeLV":
		return ask(ctx, step, &proto.ResizeLVRequest{}, c.lv.ResizeLV)
	case "CreateLVSnapshot":
		return ask(ctx, step, &proto.CreateLVSnapshotRequest{}, c.lv.CreateLVSnapshot)
	case "GetLVList":
		return ask(ctx, step, &proto.GetLVListRequest{}, c.vg.GetLVList)
	case "GetFreeBytes":
		return ask(ctx, step, &proto.GetFreeBytesRequest{}, c.vg.GetFreeBytes)
	case "Watch":
		return ask(ctx, step, &proto.Empty{}, c.watch)
	case "Health":
		return ask(ctx, step, &grpc_health_v1.HealthCheckRequest{}, c.health.Check)
	default:
		return nil, fmt.Errorf("there is no call %q", step.Call)
	}
}

// watch gives the first message of the stream and hangs up.
func (c client) watch(ctx context.Context, in *proto.Empty, _ ...grpc.CallOption) (*proto.WatchResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.vg.Watch(ctx, in)
	if err != nil {
		return nil, err
	}
	return stream.Recv()
}

func ask[In, Out protobuf.Message](
	ctx context.Context,
	step Step,
	in In,
	rpc func(context.Context, In, ...grpc.CallOption) (Out, error),
) (*Result, error) {
	if len(step.Request) > 0 {
		if err := protojson.Unmarshal(step.Request, in); err != nil {
			return nil, fmt.Errorf("request of %s: %w", step.Call, err)
		}
	}
	out, err := rpc(ctx, in)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: %w", step.Call, ctx.Err())
	}
	answer := &Result{ID: step.ID, Call: step.Call, Code: status.Code(err).String()}
	if status.Code(err) != codes.OK {
		answer.Message = status.Convert(err).Message()
		return answer, nil
	}
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(out)
	answer.Response = json.RawMessage(text)
	return answer, err
}
