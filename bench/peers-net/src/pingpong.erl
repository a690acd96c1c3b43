%% Erlang processes on two nodes, a binary of 64 bytes there and back. The nodes find each other without the port
%% mapper daemon, which would outlive them.
-module(pingpong).
-export([serve/0, measure/0]).

serve() ->
    true = register(echo, self()),
    io:format("READY~n"),
    echo().

echo() ->
    receive {From, Payload} -> From ! {self(), Payload}, echo() end.

%% Arguments after -extra: the node to call, milliseconds of the batch. Prints microseconds of a round trip.
measure() ->
    [Node, Ms] = init:get_plain_arguments(),
    Window = list_to_integer(Ms) * 1000000,
    Peer = find(list_to_atom(Node), 100),
    Payload = binary:copy(<<7>>, 64),
    batch(Peer, Payload, erlang:monotonic_time(nanosecond), Window div 6, 0),
    Start = erlang:monotonic_time(nanosecond),
    {Calls, End} = batch(Peer, Payload, Start, Window, 0),
    io:format("~.4f~n", [(End - Start) / Calls / 1000.0]),
    halt(0).

%% The connection is set up by the first call, which may come before the other node listens.
find(Node, Tries) ->
    case catch rpc:call(Node, erlang, whereis, [echo], 5000) of
        Peer when is_pid(Peer) -> Peer;
        Error when Tries =:= 0 ->
            io:format(standard_error, "cannot reach ~p: ~p~n", [Node, Error]),
            halt(1);
        _ -> timer:sleep(20), find(Node, Tries - 1)
    end.

batch(Peer, Payload, Start, Window, Calls) ->
    calls(Peer, Payload, 32),
    Now = erlang:monotonic_time(nanosecond),
    if Now - Start > Window -> {Calls + 32, Now};
       true -> batch(Peer, Payload, Start, Window, Calls + 32)
    end.

calls(_, _, 0) -> ok;
calls(Peer, Payload, Left) ->
    Peer ! {self(), Payload},
    receive {Peer, _} -> calls(Peer, Payload, Left - 1) end.
