"""Proximal policy optimization: a Gaussian policy, generalized advantages, clipped ratios, shuffled minibatches."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Normal
from torch.utils.data.sampler import BatchSampler, SequentialSampler

from tests.scripts.beginning import begin

rng = np.random.default_rng(1)
dtype = torch.get_default_dtype()


class ActorCritic(nn.Module):
    def __init__(self, num_inputs, num_outputs, hidden_size, std=0.0):
        super(ActorCritic, self).__init__()
        self.critic = nn.Sequential(nn.Linear(num_inputs, hidden_size), nn.Tanh(), nn.Linear(hidden_size, 1))
        self.actor = nn.Sequential(nn.Linear(num_inputs, hidden_size), nn.Tanh(), nn.Linear(hidden_size, num_outputs))
        self.log_std = nn.Parameter(torch.ones(1, num_outputs) * std)

    def forward(self, x):
        value = self.critic(x)
        mu = self.actor(x)
        std = self.log_std.exp().expand_as(mu)
        return Normal(mu, std), value


class Env:
    """A point that is pushed to the origin."""

    def reset(self):
        self.s, self.t = rng.standard_normal(2), 0
        return self.s

    def step(self, a):
        self.s = self.s + 0.3 * np.clip(a, -1, 1)
        self.t += 1
        return self.s, -float(np.sum(self.s**2)), self.t == 10


def compute_gae(next_value, rewards, masks, values, gamma=0.99, tau=0.95):
    values = values + [next_value]
    gae, returns = 0, []
    for step in reversed(range(len(rewards))):
        delta = rewards[step] + gamma * values[step + 1] * masks[step] - values[step]
        gae = delta + gamma * tau * masks[step] * gae
        returns.insert(0, gae + values[step])
    return returns


model = begin(ActorCritic(2, 2, 16))
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, eps=1e-5)
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.5, total_iters=4)


def ppo_step(state, action, old_log_probs, return_, advantage, clip_param=0.2):
    dist, value = model(state)
    entropy = dist.entropy().mean()
    new_log_probs = dist.log_prob(action)
    ratio = (new_log_probs - old_log_probs).exp()
    surr1 = ratio * advantage
    surr2 = torch.clamp(ratio, 1.0 - clip_param, 1.0 + clip_param) * advantage
    actor_loss = -torch.min(surr1, surr2).mean()
    critic_loss = F.smooth_l1_loss(value, return_)
    loss = 0.5 * critic_loss + actor_loss - 0.001 * entropy
    optimizer.zero_grad()
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    return loss, norm, ((ratio - 1.0).abs() > clip_param).to(ratio.dtype).mean()


if COMPILED:
    ppo_step = torch.compile(ppo_step)
env, losses = Env(), []
for frame in range(3):
    log_probs, values, states, actions, rewards, masks = [], [], [], [], [], []
    state = env.reset()
    for _ in range(20):
        state = torch.as_tensor(state, dtype=dtype).unsqueeze(0)
        with torch.no_grad():
            dist, value = model(state)
            action = dist.mean + dist.stddev * torch.tensor(rng.standard_normal((1, 2)), dtype=dtype)
            log_prob = dist.log_prob(action)
        next_state, reward, done = env.step(action.cpu().numpy()[0])
        log_probs.append(log_prob)
        values.append(value)
        rewards.append(torch.tensor([reward], dtype=dtype).unsqueeze(1))
        masks.append(torch.tensor([1 - done], dtype=dtype).unsqueeze(1))
        states.append(state)
        actions.append(action)
        state = env.reset() if done else next_state
    with torch.no_grad():
        _, next_value = model(torch.as_tensor(state, dtype=dtype).unsqueeze(0))
    returns = torch.cat(compute_gae(next_value, rewards, masks, values)).detach()
    log_probs, values = torch.cat(log_probs).detach(), torch.cat(values).detach()
    states, actions = torch.cat(states), torch.cat(actions)
    advantage = returns - values
    advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
    for _ in range(2):
        for index in BatchSampler(SequentialSampler(range(20)), 5, drop_last=True):
            index = torch.tensor(index)
            loss, norm, clipped = ppo_step(
                states[index], actions[index], log_probs[index], returns[index], advantage[index]
            )
            losses += [loss.item(), norm.item(), clipped.item()]
    scheduler.step()
losses.append(optimizer.param_groups[0]["lr"])
