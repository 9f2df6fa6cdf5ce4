"""Operations through a chain, as tests want them: run by the dialer that the server and the library use."""

from __future__ import annotations

from functools import partial

from chainsocks.chain import associate as associations
from chainsocks.chain import bind as bindings
from chainsocks.chain import resolve as resolving
from chainsocks.chain.associate import Association
from chainsocks.chain.attempts import Choices, Operation
from chainsocks.chain.bind import Binding, IPAddress
from chainsocks.chain.dialer import Dialer
from chainsocks.chain.health import Health
from chainsocks.chain.limit import Limit
from chainsocks.chain.operations import Upstream, close_upstream, open_connection
from chainsocks.chain.operations import greet as greeting
from chainsocks.chain.trip import OnStep
from chainsocks.config.chains import Chain
from chainsocks.config.models import Timeouts
from chainsocks.network import Network
from chainsocks.protocol.address import UNSPECIFIED, Address
from chainsocks.protocol.messages import Command

__all__ = ["accept", "associate", "bind", "dial", "dialer_of", "greet", "resolve"]


def dialer_of(
    network: Network, timeouts: Timeouts, choices: Choices | None = None, on_step: OnStep | None = None
) -> Dialer:
    """Return a dialer, which remembers nothing of earlier ones unless given their choices."""
    return Dialer(network, timeouts, choices or Choices(Health(network.now)), on_step)


async def dial(
    chain: Chain,
    destination: Address,
    timeouts: Timeouts,
    network: Network,
    on_step: OnStep | None = None,
    choices: Choices | None = None,
) -> Upstream:
    """Connect to `destination` through `chain`."""
    dialer = dialer_of(network, timeouts, choices, on_step)
    _, upstream = await dialer.run(chain, open_connection, destination, key=destination.packed, close=close_upstream)
    return upstream


async def associate(chain: Chain, timeouts: Timeouts, network: Network, choices: Choices | None = None) -> Association:
    """Open associations at all hops of `chain`."""
    _, association = await dialer_of(network, timeouts, choices).run(chain, associations.associate)
    return association


async def resolve(
    chain: Chain,
    subject: Address,
    timeouts: Timeouts,
    network: Network,
    command: Command = Command.RESOLVE,
    choices: Choices | None = None,
    on_step: OnStep | None = None,
) -> Address:
    """Look `subject` up through `chain`."""
    operation: Operation[Address] = partial(resolving.resolve, command=command)
    dialer = dialer_of(network, timeouts, choices, on_step)
    _, answer = await dialer.run(chain, operation, subject, key=subject.packed)
    return answer


async def greet(chain: Chain, timeouts: Timeouts, network: Network, on_step: OnStep | None = None) -> None:
    """Greet the last hop of `chain`."""
    await dialer_of(network, timeouts, on_step=on_step).run(chain, greeting, UNSPECIFIED)


async def bind(
    chain: Chain, peer: Address, timeouts: Timeouts, network: Network, advertised: IPAddress | None = None
) -> Binding:
    """Open a port for `peer` at the far end of `chain`."""
    operation: Operation[Binding] = partial(bindings.bind, advertised=advertised)
    _, binding = await dialer_of(network, timeouts).run(chain, operation, peer)
    return binding


async def accept(binding: Binding, network: Network) -> Upstream:
    """Wait for the peer."""
    with Limit(network) as limit:
        return await binding.accept(limit)
