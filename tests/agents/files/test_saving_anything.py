"""Whatever trains can be saved, and what comes back acts and learns on as if nothing had been."""

import copy
import enum
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from stable_baselines3.her import HerReplayBuffer
from tiny import Corridor, agent, differences, life, live
from torch import nn

from continual_arcade.agents import ContinualDQN, Exploration
from continual_arcade.agents.files.plain import from_plain, to_plain
from continual_arcade.agents.methods import Part
from continual_arcade.agents.methods.clear import Clear
from continual_arcade.agents.methods.ewc import EWC
from continual_arcade.agents.methods.mask import HardMask
from continual_arcade.agents.methods.mer import MER
from continual_arcade.agents.methods.reptile import Reptile
from continual_arcade.agents.networks import ContinualPolicy
from continual_arcade.agents.replay import (
    BalancedReplayBuffer,
    FIFOReplayBuffer,
    MixReplayBuffer,
    ReservoirReplayBuffer,
)

SPACES: dict[str, spaces.Space[Any]] = {
    "box": spaces.Box(-1, 1, (3,)),
    "a matrix": spaces.Box(-1, 1, (2, 3)),
    "without bounds": spaces.Box(-np.inf, np.inf, (3,), np.float64),
    "odd bounds": spaces.Box(
        np.array([-1e9, 0, 5]), np.array([1e9, 1e-9, np.inf]), dtype=np.float64
    ),
    "bytes": spaces.Box(0, 255, (3,), np.uint8),
    "truth values": spaces.Box(0, 1, (2,), np.bool_),
    "halves": spaces.Box(-1, 1, (3,), np.float16),
    "long numbers": spaces.Box(-5, 2**40, (2,), np.int64),
    "discrete": spaces.Discrete(5),
    "several": spaces.MultiDiscrete([3, 2]),
    "bits": spaces.MultiBinary(4),
    "a matrix of bits": spaces.MultiBinary([2, 3]),
    "images": spaces.Box(0, 255, (36, 36, 1), np.uint8),
    "a dict": spaces.Dict(b=spaces.Box(-1, 1, (2,)), a=spaces.Discrete(3)),
}


class Somewhere(gym.Env[Any, Any]):
    """An environment that shows whatever its space has."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.observation_space = space
        self.action_space = spaces.Discrete(2)
        self.place = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place = 0
        return self._seen(), {}

    def step(self, action: Any) -> Any:
        self.place += 1
        return self._seen(), float(action), self.place > 6, False, {}

    def _seen(self) -> Any:
        seen = self.observation_space.sample()
        # What has no bounds has samples beyond all that can be learnt from.
        is_wide = self.observation_space.dtype in (np.float64, np.int64) and np.ndim(seen)
        return np.clip(seen, -9, 9) if is_wide else seen


class Extractor(BaseFeaturesExtractor):
    """Of somebody else, with an argument that is no data."""

    def __init__(self, observation_space: Any, how: Any = None) -> None:
        super().__init__(observation_space, 4)
        self.flatten = FlattenExtractor(observation_space)
        self.layer = nn.Linear(self.flatten.features_dim, 4)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layer(self.flatten(observations)))


class How(enum.Enum):
    THUS = 1


class OwnReplay(FIFOReplayBuffer):
    """Of somebody else."""


class OwnPolicy(ContinualPolicy):
    """Of somebody else."""


class OwnSgd(torch.optim.SGD):
    """Of somebody else."""


class OwnExploration(Exploration):
    """Of somebody else."""


class OwnAgent(ContinualDQN):
    """A learner of somebody else, with an argument of its own."""

    def __init__(self, *args: Any, bonus: float = 0.0, **kwargs: Any) -> None:
        self.bonus = bonus
        super().__init__(*args, **kwargs)


@dataclass
class OwnPart(Part):
    """Of somebody else, with a setting that is no data."""

    name: ClassVar[str] = "own"
    thing: Any = field(default_factory=object)


class OwnMask(HardMask):
    """Of somebody else, and no dataclass."""

    name = "mask"


@dataclass
class OwnReptile(Reptile):
    """Has the name of a part of the suite, and does something else."""

    eps: float = 0.5


def falling(progress: float) -> float:
    """Below 0 at the end, as a schedule may be when training goes on behind its end."""
    return 1e-3 * (progress - 0.5)


@dataclass
class Made:
    """How an agent is made, and what must be handed to load() again."""

    space: str = "box"
    kind: type[ContinualDQN] = ContinualDQN
    policy: Any = None
    kwargs: dict[str, Any] = field(default_factory=dict)
    policy_kwargs: dict[str, Any] = field(default_factory=dict)
    handed: set[str] = field(default_factory=set)
    parts: Callable[[], list[Part]] = list
    done: Callable[[ContinualDQN], object] = lambda agent: None
    """What somebody does to it."""

    def make(self) -> ContinualDQN:
        return self.kind(
            self.policy or NAMED.get(self.space, "MlpPolicy"),
            Somewhere(SPACES[self.space]),
            parts=self.parts(),
            policy_kwargs={"net_arch": [4], **self.policy_kwargs},
            device="cpu",
            **{
                "buffer_size": 50,
                "learning_starts": 5,
                "batch_size": 4,
                "train_freq": 2,
                "seed": 0,
                "engine": "torch",
                **self.kwargs,
            },
        )

    def again(self) -> dict[str, Any]:
        """What is handed to load()."""
        every = {**self.kwargs, "policy": self.policy, "policy_kwargs": {}, "parts": None}
        every["policy_kwargs"] = {"net_arch": [4], **self.policy_kwargs}
        every["parts"] = self.parts()
        return {name: every[name] for name in self.handed}


NAMED = {"images": "CnnPolicy", "a dict": "MultiInputPolicy"}
OURS = (FIFOReplayBuffer, ReservoirReplayBuffer, MixReplayBuffer, BalancedReplayBuffer)


def exchange(agent: ContinualDQN) -> None:
    agent.policy.optimizer = torch.optim.SGD(agent.q_net.parameters(), 1e-3, momentum=0.5)


def exchange_for_two_groups(agent: ContinualDQN) -> None:
    first, *rest = agent.q_net.parameters()
    groups = [{"params": rest, "lr": 1e-2}, {"params": [first]}]
    agent.policy.optimizer = torch.optim.Adam(groups, amsgrad=True)


def set_otherwise(agent: ContinualDQN) -> None:
    agent.optimizer.param_groups[0].update(betas=(0.5, 0.6), weight_decay=0.1)


def freeze(agent: ContinualDQN) -> None:
    next(agent.q_net.parameters()).requires_grad_(False)


def compile_all(agent: ContinualDQN) -> None:
    agent.policy = torch.compile(agent.policy, backend="eager")  # type: ignore[assignment]


def compile_network(agent: ContinualDQN) -> None:
    agent.policy.q_net = torch.compile(agent.policy.q_net, backend="eager")  # type: ignore[assignment]
    agent.q_net = agent.policy.q_net


def compile_layers(agent: ContinualDQN) -> None:
    agent.q_net.q_net = torch.compile(agent.q_net.q_net, backend="eager")  # type: ignore[assignment]
    agent.q_net.compile(backend="eager")


DONE: tuple[Callable[[ContinualDQN], object], ...] = (
    lambda agent: None,
    exchange,
    exchange_for_two_groups,
    set_otherwise,
    freeze,
)
COMPILED = (compile_all, compile_network, compile_layers)


@st.composite
def ways(draw: Any) -> Made:
    """Ways in which an agent may be made."""
    made = Made(draw(st.sampled_from(sorted(SPACES))))
    kwargs, policy = made.kwargs, made.policy_kwargs
    is_plain = made.space not in NAMED
    policy["activation_fn"] = draw(st.sampled_from([nn.ReLU, nn.Tanh, nn.ELU, nn.Mish]))
    optimizers: list[Any] = ["Adam", "AdamW", "SGD", "RMSprop", "Adagrad", "NAdam", "Adamax"]
    optimizers += ["Adadelta", "RAdam", "ASGD", "Rprop", "Adafactor"]
    policy["optimizer_class"] = getattr(torch.optim, draw(st.sampled_from(optimizers)))
    if draw(st.booleans()):
        policy["optimizer_kwargs"] = {"weight_decay": 0.1} if "Rprop" not in str(policy) else {}
    if is_plain and draw(st.booleans()):
        policy.update(layer_norm=draw(st.booleans()), dropout=draw(st.sampled_from([0.0, 0.5])))
    rates: list[Any] = [1e-3, np.float32(1e-3), falling, LinearSchedule(1e-2, 1e-4, 0.5)]
    rates += [ConstantSchedule(1e-3), FloatSchedule(falling), FloatSchedule(1e-3)]
    kwargs["learning_rate"] = draw(st.sampled_from(rates))
    if "falling" in str(kwargs["learning_rate"]):
        made.handed.add("learning_rate")
    replays: list[Any] = [None, ReplayBuffer, NStepReplayBuffer, OwnReplay, *OURS]
    kwargs["replay_buffer_class"] = replay = (
        draw(st.sampled_from(replays)) if (made.space != "a dict") else None
    )
    if replay is NStepReplayBuffer:
        kwargs["replay_buffer_kwargs"] = {"n_steps": 2, "gamma": 0.9}
    if replay is OwnReplay:
        made.handed.add("replay_buffer_class")
    if replay in OURS:
        kwargs["n_steps"] = draw(st.sampled_from([1, 3]))
        part: Any = draw(st.sampled_from([None, Reptile, MER, Clear, OwnPart, OwnMask, OwnReptile]))
        made.parts = lambda: [] if part is None else [part()]
        if part in (OwnPart, OwnMask, OwnReptile):
            made.handed.add("parts")
    kwargs["train_freq"] = draw(st.sampled_from([1, np.int64(2), (3, "step"), (1, "episode")]))
    kwargs["gradient_steps"] = draw(st.sampled_from([1, -1, np.int32(2)]))
    kwargs["seed"] = draw(st.sampled_from([None, 0, np.int64(7), np.uint32(2**32 - 1)]))
    kwargs["double_q"] = draw(st.sampled_from([True, np.True_]))
    kwargs["max_grad_norm"] = draw(st.sampled_from([10, float("inf")]))
    kwargs["exploration"] = draw(
        st.sampled_from([None, Exploration("constant", np.array([0.25, 0.75])), OwnExploration()])  # type: ignore[arg-type]
    )
    if isinstance(kwargs["exploration"], OwnExploration):
        made.handed.add("exploration")
    if is_plain:
        own = draw(st.sampled_from(["", "", "extractor", "policy", "optimizer", "activation"]))
        if own == "extractor":
            policy["features_extractor_class"] = Extractor
            policy["features_extractor_kwargs"] = {"how": draw(st.sampled_from([How.THUS, 5]))}
        if own == "policy":
            made.policy = OwnPolicy
            made.handed.add("policy")
        if own == "optimizer":
            policy.update(optimizer_class=OwnSgd, optimizer_kwargs={"momentum": 0.5})
        if own == "activation":
            policy["activation_fn"] = lambda: nn.Tanh()
        if own and own != "policy":
            made.handed.add("policy_kwargs")
    if draw(st.booleans()):
        made.kind, kwargs["bonus"] = OwnAgent, 0.25
    if not made.handed & {"policy", "policy_kwargs"}:
        # Of a frozen parameter there is no gradient, which a mask wants to look at.
        masks = "parts" in made.handed
        made.done = draw(st.sampled_from(DONE[:-1] if masks else DONE))
    return made


def moved_on(agent: ContinualDQN, replay: Any) -> Any:
    """What an agent is after some gradient steps on the same transitions."""
    agent.replay_buffer = copy.deepcopy(replay)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002  # the parent draws from it
    agent.train(3, 4)
    return {name: tensor.clone() for name, tensor in agent.policy.state_dict().items()}


def check(made: Made, folder: Path) -> None:
    """Train an agent, save it, load it, and see both act and learn in the same way."""
    model = made.make()
    model.learn(12, log_interval=None)  # type: ignore[arg-type]
    made.done(model)
    model.learn(12, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
    path = folder / "new" / "folder" / "agent"
    model.save(path)
    if made.handed:
        with pytest.raises(ValueError, match=r"agent\.zip.*hand (it|all parts) to load"):
            made.kind.load(path, device="cpu")
    loaded = made.kind.load(path, device="cpu", **made.again())
    assert loaded.observation_space == model.observation_space
    assert getattr(loaded, "bonus", None) == getattr(model, "bonus", None)
    assert type(loaded.optimizer) is type(model.optimizer)
    assert loaded.policy_class is model.policy_class
    seen = [model.observation_space.sample() for _ in range(8)]
    for one in seen:
        actions = [each.predict(one, deterministic=True)[0] for each in (model, loaded)]
        assert actions[0] == actions[1]
    loaded.set_logger(model.logger)
    replay = model.replay_buffer
    after = [moved_on(each, replay) for each in (model, loaded)]
    assert not list(differences(*[list(tree.values()) for tree in after]))
    assert not list(differences(loaded.optimizer.state_dict(), model.optimizer.state_dict()))


@pytest.mark.parametrize("space", SPACES)
def test_every_observation_that_can_be_learnt_from(space: str, tmp_path: Path) -> None:
    check(Made(space), tmp_path)
    model = Made(space).make()
    before = [tensor.clone() for tensor in model.policy.state_dict().values()]
    model.learn(12, log_interval=None)  # type: ignore[arg-type]
    assert list(differences(before, list(model.policy.state_dict().values())))


SLOWLY = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}


@settings(max_examples=8, **SLOWLY)  # type: ignore[arg-type]
@given(ways())
@example(Made(done=exchange_for_two_groups))
@example(Made(done=freeze))
@example(Made(done=set_otherwise))
@example(Made(kind=OwnAgent, kwargs={"bonus": 0.25}))
def test_whatever_trains_can_be_saved(made: Made) -> None:
    with TemporaryDirectory() as folder:
        check(made, Path(folder))


@pytest.mark.slow
@settings(max_examples=150, **SLOWLY)  # type: ignore[arg-type]
@given(ways())
def test_whatever_trains_can_be_saved_many_times(made: Made) -> None:
    with TemporaryDirectory() as folder:
        check(made, Path(folder))


@pytest.mark.parametrize("how", COMPILED)
def test_a_compiled_network(how: Callable[[ContinualDQN], object], tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch's compiler has to say of itself
        check(Made(done=how), tmp_path)


def test_a_difference_is_seen(tmp_path: Path) -> None:
    """The oracle of these tests notices what is not brought back."""
    for lost in (set_otherwise, exchange, freeze):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "continual_arcade.agents.files.saving.restore_optimizer", lambda *a, **k: None
            )
            patch.setattr(nn.Parameter, "requires_grad_", lambda self, flag: self, raising=False)
            with pytest.raises(AssertionError):
                check(Made(done=lost), tmp_path)


# --- a network that was exchanged -----------------------------------------------------------------


def replace_layer(network: Any) -> None:
    network.q_net[1] = nn.Tanh()  # of the same parameters: nothing in them tells


def replace_head(network: Any) -> None:
    network.q_net[2] = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))


@pytest.mark.parametrize("replace", [replace_layer, replace_head])
def test_a_network_that_was_exchanged_is_saved_and_says_so(
    replace: Callable[[Any], None], tmp_path: Path
) -> None:
    model = Made().make()
    model.learn(12, log_interval=None)  # type: ignore[arg-type]
    for network in (model.q_net, model.q_net_target):
        replace(network)
    model.policy.optimizer = torch.optim.Adam(model.q_net.parameters())
    with pytest.warns(UserWarning, match=r"network is not the one any more.*must be handed"):
        model.save(tmp_path / "agent")
    with pytest.raises(ValueError, match=r"agent\.zip: the network was exchanged.*hand load"):
        ContinualDQN.load(tmp_path / "agent", device="cpu")

    class Policy(ContinualPolicy):
        def make_q_net(self) -> Any:
            network = super().make_q_net()
            replace(network)
            return network

    policy_kwargs = {"net_arch": [4]}
    loaded = ContinualDQN.load(
        tmp_path / "agent", device="cpu", policy=Policy, policy_kwargs=policy_kwargs
    )
    seen = torch.rand(20, 3)
    assert torch.equal(loaded.q_net(seen), model.q_net(seen))
    loaded.save(tmp_path / "again")  # and that is what its arguments make now


@pytest.mark.parametrize(
    "kind",
    [
        kind
        for kind in vars(torch.optim).values()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)
    ],
)
def test_every_optimiser_of_torch_is_looked_up(kind: Any) -> None:
    assert from_plain(to_plain(kind), "policy_kwargs") is kind


def test_hindsight_replay(tmp_path: Path) -> None:
    """It asks the environment, while it is made."""
    env = BitFlippingEnv(n_bits=4, continuous=False)
    model = ContinualDQN(
        "MultiInputPolicy",
        env,
        replay_buffer_class=HerReplayBuffer,
        replay_buffer_kwargs={"n_sampled_goal": 2},
        learning_starts=20,
        buffer_size=200,
        train_freq=4,
        device="cpu",
    ).learn(60)
    model.save(tmp_path / "agent")
    loaded = ContinualDQN.load(tmp_path / "agent", env, "cpu")
    seen = env.observation_space.sample()
    assert loaded.predict(seen, deterministic=True)[0] == model.predict(seen, deterministic=True)[0]
    loaded.learn(60)
    with pytest.raises(ValueError, match=r"agent.zip: HerReplayBuffer asks the environment"):
        ContinualDQN.load(tmp_path / "agent", device="cpu")


# --- what is refused when it is made --------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Discrete(5, start=2), "do not begin with 0"),
        (spaces.MultiDiscrete([3, 2], start=[1, 0]), "do not begin with 0"),
        (spaces.MultiDiscrete([[3, 2], [2, 2]]), "several axes"),
        (spaces.Box(-1, 1, ()), "no dimension"),
        (spaces.Box(-1, 1, (2,), np.dtype(">f4")), "of >f4, which PyTorch does not have"),
        (spaces.Box(-1, 1, (2,), np.longdouble), "of float128, which PyTorch"),
        (spaces.Text(4), "cannot be learnt from"),
        (spaces.Tuple([spaces.Discrete(2)]), "cannot be learnt from"),
        (spaces.Dict(a=spaces.Discrete(2), b=spaces.Text(4)), "observation 'b'.*cannot"),
    ],
)
def test_observations_that_cannot_be_learnt_from(space: Any, message: str) -> None:
    policy = "MultiInputPolicy" if isinstance(space, spaces.Dict) else "MlpPolicy"
    with pytest.raises(ValueError, match=rf"{message}.*: wrap the env"):
        ContinualDQN(policy, Somewhere(space), device="cpu", buffer_size=50)


def test_actions_that_cannot_be_made() -> None:
    env = Corridor()
    env.action_space = spaces.Discrete(2, start=1)
    with pytest.raises(ValueError, match="begin with 1, and the network would make action 0"):
        ContinualDQN("MlpPolicy", env, device="cpu", buffer_size=50)


# --- names ----------------------------------------------------------------------------------------


def test_a_name_as_long_as_names_may_be(tmp_path: Path) -> None:
    for name in ("m" * 251 + ".zip", "ü" * 125 + ".zip"):
        model = agent(engine="torch")
        model.save(tmp_path / name)
        model.save(tmp_path / name)  # in place of the older one
        assert [file.name for file in tmp_path.iterdir()] == [name]
        ContinualDQN.load(tmp_path / name, device="cpu")
        (tmp_path / name).unlink()


def test_paths_of_any_kind(tmp_path: Path) -> None:
    class Somewhere:
        def __fspath__(self) -> str:
            return str(tmp_path / "new" / "agent")

    model = live(agent(EWC(samples=20), engine="torch"), 60)
    model.save(Somewhere())  # type: ignore[arg-type]
    model.save_training(tmp_path / "new" / "too" / "training.zip")
    ContinualDQN.load(Somewhere(), device="cpu")  # type: ignore[arg-type]
    loaded = ContinualDQN.load(tmp_path / "new" / "too" / "training", life(), "cpu")
    assert loaded.num_timesteps == 60
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        model.save(tmp_path / "file" / "agent")


def test_arguments_that_there_are_not(tmp_path: Path) -> None:
    agent(engine="torch").save(tmp_path / "agent")
    with pytest.raises(TypeError, match="'gama': did you mean 'gamma'"):
        ContinualDQN.load(tmp_path / "agent", device="cpu", gama=0.5)
