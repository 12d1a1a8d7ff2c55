"""Q-learning with a replay memory, a target network that follows softly, Huber's loss and clipped values."""

import random
from collections import deque, namedtuple

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim

from tests.scripts.beginning import begin

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))
dtype = torch.get_default_dtype()
random.seed(0)
rng = np.random.default_rng(0)


class ReplayMemory(object):
    def __init__(self, capacity):
        self.memory = deque([], maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, batch_size):
        return random.sample(self.memory, batch_size)

    def __len__(self):
        return len(self.memory)


class DQN(nn.Module):
    def __init__(self, n_observations, n_actions):
        super(DQN, self).__init__()
        self.layer1 = nn.Linear(n_observations, 16)
        self.layer2 = nn.Linear(16, n_actions)

    def forward(self, x):
        return self.layer2(torch.relu(self.layer1(x)))


policy_net, target_net = begin(DQN(2, 2)), DQN(2, 2)
target_net.load_state_dict(policy_net.state_dict())
optimizer = optim.AdamW(policy_net.parameters(), lr=1e-2, amsgrad=True)
memory, BATCH_SIZE, GAMMA, TAU = ReplayMemory(200), 8, 0.9, 0.05


def step(state_batch, action_batch, reward_batch, next_states, alive):
    state_action_values = policy_net(state_batch).gather(1, action_batch)
    with torch.no_grad():
        next_state_values = target_net(next_states).max(1).values * alive
    expected = next_state_values * GAMMA + reward_batch
    loss = nn.SmoothL1Loss()(state_action_values, expected.unsqueeze(1))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_value_(policy_net.parameters(), 100)
    optimizer.step()
    return loss


if COMPILED:
    step = torch.compile(step)
losses = []
for episode in range(5):
    place = float(rng.uniform(-1, 1))
    state = torch.tensor([place, 1.0], dtype=dtype).unsqueeze(0)
    for t in range(8):
        if random.random() > 0.5:
            with torch.no_grad():
                action = policy_net(state).max(1).indices.view(1, 1)
        else:
            action = torch.tensor([[random.randrange(2)]], dtype=torch.long)
        place += 0.4 * (2 * action.item() - 1)
        reward = torch.tensor([1.0 - abs(place)], dtype=dtype)
        next_state = None if abs(place) > 2 else torch.tensor([place, 1.0], dtype=dtype).unsqueeze(0)
        memory.push(state, action, next_state, reward)
        if len(memory) >= BATCH_SIZE:
            batch = Transition(*zip(*memory.sample(BATCH_SIZE)))
            mask = torch.tensor(tuple(map(lambda s: s is not None, batch.next_state)), dtype=torch.bool)
            next_states = torch.cat([torch.zeros(1, 2) if s is None else s for s in batch.next_state])
            losses.append(step(torch.cat(batch.state), torch.cat(batch.action), torch.cat(batch.reward),
                               next_states, mask.to(dtype)).item())
            target_state, policy_state = target_net.state_dict(), policy_net.state_dict()
            for key in policy_state:
                target_state[key] = policy_state[key] * TAU + target_state[key] * (1 - TAU)
            target_net.load_state_dict(target_state)
        if next_state is None:
            break
        state = next_state
